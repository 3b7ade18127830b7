//! `lastgood suggest`: limits under which recent weeks would have been quiet.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use super::replay::{Subject, Task, fetch, interval, percent, time, times};
use crate::engine::judge::Verdict;
use crate::engine::judge::slo::number;
use crate::engine::policy::Rule;
use crate::engine::time::earlier;
use crate::policy::{Limit, PolicySet, SourceFile, read_files, with_limits};
use crate::replay::{LEFT_OUT, Quiet, Recorded, Rehearsal, needs, quiet, rehearse, rehearse_each};

/// A week.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Verdicts that are listed one by one.
const LISTED_MAX: usize = 10;

/// Arguments of `lastgood suggest`.
#[derive(Args, Debug)]
pub struct Suggest {
    #[command(flatten)]
    subject: Subject,
    /// How many weeks up to `--to` are looked at.
    #[arg(long, value_name = "N", default_value_t = 2)]
    weeks: u32,
    /// The end of the time that is looked at: RFC 3339 or Unix seconds; by default now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// How far the pretended syncs are apart that tell how quiet it would have been.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    every: Duration,
}

impl Suggest {
    /// Prints the policy with other limits; what they rest on stands above it as a comment.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let files = read_files(&self.subject.policy).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        let [file] = files.as_slice() else {
            bail!("{} is no single file; name the file of one policy", self.subject.policy.display());
        };
        let task = self.subject.task(|policy| {
            // The last analysis may last twice its duration, and then it is over.
            let last = earlier(Timestamp::now(), policy.duration.saturating_mul(2));
            let to = self.to.map_or(last, |to| to.min(last));
            times(earlier(to, WEEK.saturating_mul(self.weeks)), to, self.every, policy.interval)
        })?;
        let wanted = needs(&task.policy, &task.syncs);
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let recorded = runtime.block_on(fetch(&task.policy, wanted, self.subject.timeout))?;
        let proposal = Proposal::of(file, &task, &recorded)?;
        proposal.print(&task, &recorded, out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A policy's text with its new limits.
struct Proposal {
    text: String,
    /// A sentence for each limit, and for each that stays.
    told: Vec<String>,
    /// The same policy, read.
    task: Task,
}

impl Proposal {
    fn of(file: &SourceFile, task: &Task, recorded: &Recorded) -> anyhow::Result<Self> {
        let Some(first) = task.syncs.first() else { bail!("there is no time to look at") };
        // The queries as they are sent.
        let probe = rehearse(&task.policy, first, recorded);
        let (mut limits, mut told) = (Vec::new(), Vec::new());
        for (i, slo) in task.policy.slos.iter().enumerate() {
            let query = probe.queries().iter().find(|query| query.slo == slo.name);
            let (Rule::Threshold { objective, strikes }, Some(query)) = (&slo.rule, query) else {
                told.push(format!("{}: has no limits, and stays as it is", slo.name));
                continue;
            };
            let stretches = recorded.stretches(query);
            let (max, min) = quiet(*objective, *strikes, &stretches);
            let found =
                [("max", max), ("min", min)].into_iter().filter_map(|(field, one)| Some((field, one?)));
            let before = limits.len();
            for (field, Quiet { limit, usual, worst }) in found {
                told.push(format!(
                    "{}: `{field}: {limit}`; usually {}, and {} of {} measurements were never beyond {} but for {} of the time",
                    slo.name, number(usual), strikes.failures, strikes.of, number(worst), percent(LEFT_OUT)
                ));
                limits.push(Limit { slo: i, field, value: limit.to_string() });
            }
            if limits.len() == before {
                told.push(format!("{}: too few values, or all the same: stays as it is", slo.name));
            }
        }
        let (text, missing) = with_limits(file, &limits);
        let named = |limit: &Limit| task.policy.slos.get(limit.slo).map(|slo| slo.name.as_str());
        for name in missing.into_iter().filter_map(named) {
            told.push(format!(
                "{name}: stays as it is, since it is the preset's (`maxErrors`, `maxLatency`)"
            ));
        }
        let changed = SourceFile { name: file.name.clone(), bytes: text.clone().into_bytes() };
        let set = PolicySet::from_files(&[changed]).map_err(|mistakes| {
            anyhow::anyhow!("the proposal is no valid policy; please report this\n{mistakes}")
        })?;
        let mut policy = task.policy.clone();
        for loaded in set.iter() {
            policy.slos.clone_from(&loaded.policy.slos);
        }
        Ok(Self { text, told, task: Task { policy, syncs: task.syncs.clone() } })
    }

    fn print(&self, before: &Task, recorded: &Recorded, out: &mut dyn Write) -> anyhow::Result<()> {
        let rehearsals =
            |task: &Task| rehearse_each(&task.policy, &task.syncs, recorded, Rehearsal::without_looks);
        let (old, new) = (rehearsals(before), rehearsals(&self.task));
        if recorded.missed() {
            bail!("something was asked for that had not been fetched; please report this with the policy");
        }
        let convicted =
            |all: &[Rehearsal]| all.iter().filter(|one| matches!(one.verdict, Verdict::Degraded(_))).count();
        let (Some(first), Some(last)) = (new.first(), new.last()) else { return Ok(()) };
        let (low, high) = interval(convicted(&new), new.len());
        writeln!(out, "# Limits for the time from {} to {}, by `lastgood suggest`:", first.at, last.at)?;
        for line in &self.told {
            writeln!(out, "#   {line}")?;
        }
        writeln!(
            out,
            "# Of {} pretended syncs {} would have been convicted (95 % interval {} to {}); with the limits before, {}.",
            new.len(),
            convicted(&new),
            percent(low),
            percent(high),
            convicted(&old)
        )?;
        let inconclusive = new.iter().filter(|one| matches!(one.verdict, Verdict::Inconclusive(_))).count();
        if inconclusive > 0 {
            writeln!(out, "# {inconclusive} would have ended inconclusive.")?;
        }
        let degraded = new.iter().filter(|one| matches!(one.verdict, Verdict::Degraded(_)));
        for one in degraded.take(LISTED_MAX) {
            writeln!(out, "#   {}  {}", one.at, one.reason().replace('\n', " "))?;
        }
        write!(out, "{}", self.text)?;
        Ok(())
    }
}
