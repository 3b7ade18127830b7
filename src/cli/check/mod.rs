//! `lastgood check`: are these policies good?

mod output;
mod sarif;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use self::output::Form;
use crate::policy::code::{Code, Level};
use crate::policy::duration::Span;
use crate::policy::lint::{Assumptions, warnings};
use crate::policy::{Mistake, PolicySet, read_files};

/// Checks policy files without a cluster.
#[derive(Debug, Args)]
pub struct Check {
    /// Directories with policies (`*.yaml`, `*.yml`), or single policy files.
    #[arg(required = true, value_name = "DIR_OR_FILE")]
    pub paths: Vec<PathBuf>,
    /// Fails for warnings too.
    #[arg(long)]
    pub deny_warnings: bool,
    /// A kind of warning to pass over; may be given several times.
    #[arg(long, value_name = "WORD", value_parser = warning)]
    pub allow: Vec<Code>,
    /// How long between two scrapes of the metrics that the queries read.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub scrape_interval: Duration,
    /// The form of the result.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub output: Form,
}

/// What came of a check.
struct Outcome {
    /// Policies that are valid.
    policies: usize,
    /// Mistakes and warnings, in the order of the files.
    found: Vec<Mistake>,
}

impl Check {
    /// Writes each mistake and warning, and one closing line; the exit code is 0 when all policies are good, else 1.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let outcome = self.check();
        self.output.write(&outcome, out).and_then(|()| out.flush()).context("cannot write the result")?;
        let fails = |mistake: &Mistake| self.deny_warnings || mistake.code.level() == Level::Error;
        Ok(if outcome.found.iter().any(fails) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn check(&self) -> Outcome {
        let mut outcome = Outcome { policies: 0, found: Vec::new() };
        for path in &self.paths {
            let mut found = self.check_path(path, &mut outcome.policies);
            found.sort_by(|a, b| (&a.file, a.order()).cmp(&(&b.file, b.order())));
            outcome.found.extend(found);
        }
        outcome
    }

    fn check_path(&self, path: &Path, policies: &mut usize) -> Vec<Mistake> {
        let files = match read_files(path) {
            Ok(files) => files,
            Err(mistakes) => return mistakes.iter().cloned().collect(),
        };
        if files.is_empty() {
            let help = "policies are files that end in .yaml or .yml".to_owned();
            return vec![Mistake::whole(
                path.display().to_string(),
                "there are no policies here",
                Some(help),
            )];
        }
        let mut found = match PolicySet::from_files(&files) {
            Ok(set) => {
                *policies += set.len();
                Vec::new()
            }
            Err(mistakes) => mistakes.iter().cloned().collect(),
        };
        let allowed: BTreeSet<Code> = self.allow.iter().copied().collect();
        let assumptions = Assumptions { scrape_interval: self.scrape_interval };
        let warned = files.iter().flat_map(|file| warnings(file, assumptions));
        found.extend(warned.filter(|warning| !allowed.contains(&warning.code)));
        found
    }
}

/// A kind that can be passed over.
fn warning(word: &str) -> Result<Code, String> {
    let code: Code = word.parse()?;
    match code.level() {
        Level::Warning => Ok(code),
        Level::Error => Err("this is a mistake, and no policy with it is ever taken".to_owned()),
    }
}

/// A duration as policies write it.
fn duration(text: &str) -> Result<Duration, String> {
    Span::try_from(text.to_owned()).map(|span| span.0).map_err(|error| error.replace('\n', "; "))
}
