//! `lastgood suggest`: limits under which recent weeks would have been quiet.

mod draft;
mod found;
mod proposal;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use self::draft::Origin;
use self::proposal::Proposal;
use super::replay::{Subject, fetch, time, times};
use crate::engine::policy::Policy;
use crate::engine::time::earlier;
use crate::policy::file::{Metrics, PresetKind};
use crate::policy::{PolicySet, SourceFile, read_files};
use crate::replay::needs;

/// A week.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Arguments of `lastgood suggest`.
#[derive(Args, Debug)]
pub struct Suggest {
    /// The policy file whose limits are chosen anew. Without it a new policy is made, by a preset: of `--preset`, else of
    /// what is found.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["preset", "application"])]
    policy: Option<PathBuf>,
    /// What the application of a new policy is: `http`, `grpc` or `worker`; by default whichever has metrics.
    #[arg(long, value_name = "KIND", value_parser = word::<PresetKind>, conflicts_with = "policy")]
    preset: Option<PresetKind>,
    /// Who measures it, as in a policy's `preset.metrics`; by default whoever has the most to say.
    #[arg(long, value_name = "METRICS", value_parser = word::<Metrics>, requires = "preset")]
    metrics: Option<Metrics>,
    /// Label matchers that choose the application's series, as in a policy's `preset.selector`; by default those that its
    /// name and namespace give.
    #[arg(long, value_name = "MATCHERS", requires = "preset")]
    selector: Option<String>,
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

/// Reads one of the words of a policy file.
fn word<T: TryFrom<String, Error = String>>(text: &str) -> Result<T, String> {
    T::try_from(text.to_owned())
}

impl Suggest {
    /// Prints the policy with other limits; what they rest on stands above it as a comment.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let origin = match &self.policy {
            Some(path) => Origin::File(one_file(path)?),
            None => Origin::Draft(runtime.block_on(self.find())?),
        };
        let set = read(&origin.file())?;
        let task = self.subject.task(&set, |policy| {
            let (from, to) = self.span(policy);
            times(from, to, self.every, policy.interval)
        })?;
        let wanted = needs(&task.policy, &task.syncs);
        let recorded = runtime.block_on(fetch(&task.policy, wanted, self.subject.timeout))?;
        Proposal::of(&origin, &task, &recorded)?.print(&task, &recorded, out)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The time that is looked at.
    fn span(&self, policy: &Policy) -> (Timestamp, Timestamp) {
        // The last analysis may last twice its duration, and then it is over.
        let last = earlier(Timestamp::now(), policy.duration.saturating_mul(2));
        let to = self.to.map_or(last, |to| to.min(last));
        (earlier(to, WEEK.saturating_mul(self.weeks)), to)
    }
}

fn one_file(path: &Path) -> anyhow::Result<SourceFile> {
    let files = read_files(path).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    match <[SourceFile; 1]>::try_from(files) {
        Ok([file]) => Ok(file),
        Err(_) => bail!("{} is no single file; name the file of one policy", path.display()),
    }
}

fn read(file: &SourceFile) -> anyhow::Result<PolicySet> {
    PolicySet::from_files(std::slice::from_ref(file)).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}
