//! `lastgood replay`: would it have been rolled back? The daemon's judgement over recorded history.

mod fetch;
mod json;
mod one;
mod range;
mod what;

pub(in crate::cli) use fetch::fetch;
pub(in crate::cli) use range::{interval, percent};
pub(in crate::cli) use what::{Subject, Task, time, times};

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::engine::policy::Policy;
use crate::replay::{Pretence, Recorded, Rehearsal, needs, rehearse, rehearse_each, svg};

/// Arguments of `lastgood replay`.
#[derive(Args, Debug)]
pub struct Replay {
    /// The policy file; for `--last` also a folder of policies.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    when: When,
    /// Ends the timeline at the verdict; without this it goes on to the analysis' end, to show what came after.
    #[arg(long)]
    until_verdict: bool,
    /// Draws the series with their limits, what they were before, and the moment of the verdict, into this file.
    #[arg(long, value_name = "FILE.svg", requires = "at")]
    plot: Option<PathBuf>,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Which syncs are pretended.
#[derive(Args, Debug)]
struct When {
    /// Pretends one sync at this time: RFC 3339 (`2026-11-20T10:00:00Z`) or Unix seconds.
    #[arg(long, value_name = "TIME", value_parser = time, required_unless_present_any = ["from", "last"])]
    at: Option<Timestamp>,
    /// Pretends a sync at this time and, `--every` so long, up to `--to`.
    #[arg(long, value_name = "TIME", value_parser = time, requires_all = ["to", "every"], conflicts_with = "at")]
    from: Option<Timestamp>,
    /// The end of the range.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "from")]
    to: Option<Timestamp>,
    /// How far the pretended syncs of the range are apart; rounded to a multiple of the policy's interval.
    #[arg(long, value_name = "DURATION", requires = "from", value_parser = humantime::parse_duration)]
    every: Option<Duration>,
    /// Replays this many of the newest syncs in Argo CD's history of `--application`.
    #[arg(long, value_name = "N", requires = "application", conflicts_with_all = ["at", "from", "revision"])]
    last: Option<usize>,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON object for each pretended sync, one a line.
    Json,
}

impl Replay {
    /// Replays and prints; the exit code is 0 whatever the verdict.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let task = runtime.block_on(what::task(&self))?;
        let needs = needs(&task.policy, &task.syncs);
        let recorded = runtime.block_on(fetch(&task.policy, needs, self.subject.timeout))?;
        self.print(&task, &recorded, out)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, task: &Task, recorded: &Recorded, out: &mut dyn Write) -> anyhow::Result<()> {
        match task.syncs.as_slice() {
            [sync] if self.when.at.is_some() => self.print_one(&task.policy, sync, recorded, out)?,
            syncs => self.print_all(&task.policy, syncs, recorded, out)?,
        }
        if recorded.missed() {
            bail!(
                "something was asked for that had not been fetched, so the above is worth nothing; please report this with the policy"
            );
        }
        Ok(())
    }

    fn print_one(
        &self,
        policy: &Policy,
        sync: &Pretence,
        recorded: &Recorded,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let rehearsal = rehearse(policy, sync, recorded);
        let after = rehearsal.aftermath(policy, sync, recorded);
        let after = if self.until_verdict { &[][..] } else { &after };
        // First, since a reader of what is printed may have seen enough.
        if let Some(file) = &self.plot {
            std::fs::write(file, svg(policy, &rehearsal, after))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        match self.output {
            Output::Json => json::Told::of(policy, &rehearsal, Timestamp::now()).print(out)?,
            Output::Text => {
                one::print(policy, &rehearsal, after, out)?;
                warn_of_the_future(&[rehearsal]);
            }
        }
        Ok(())
    }

    fn print_all(
        &self,
        policy: &Policy,
        syncs: &[Pretence],
        recorded: &Recorded,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Json => {
                let now = Timestamp::now();
                let told = |rehearsal| json::Told::of(policy, &rehearsal, now);
                for told in rehearse_each(policy, syncs, recorded, told) {
                    told.print(out)?;
                }
            }
            Output::Text => {
                let told = rehearse_each(policy, syncs, recorded, Rehearsal::without_looks);
                range::print(policy, &told, self.when.every, out)?;
                warn_of_the_future(&told);
            }
        }
        Ok(())
    }
}

/// Of what has not happened yet a Prometheus knows nothing, or repeats the newest value for minutes.
fn warn_of_the_future(told: &[Rehearsal]) {
    let now = Timestamp::now();
    let unfinished = told.iter().filter(|one| one.decided_at > now).count();
    if unfinished > 0 {
        let note = format!(
            "note: {unfinished} of {} analyses are not over by now: what they say is not final",
            told.len()
        );
        writeln!(std::io::stderr(), "{note}").ok();
    }
}
