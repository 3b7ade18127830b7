//! `lastgood check`: are these policies good?

mod live;
mod output;
mod sarif;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use self::live::{Answer, Asking};
use self::output::Form;
use crate::policy::code::{Code, Level};
use crate::policy::duration::Span;
use crate::policy::lint::{Assumptions, warnings};
use crate::policy::preset::written_out;
use crate::policy::{Mistake, PolicySet, SourceFile, read_files};

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
    /// Shows the SLOs that presets stand for, as they would be written, before the result.
    #[arg(long, conflicts_with = "output")]
    pub written_out: bool,
    /// What is asked of a server.
    #[command(flatten)]
    pub asking: Asking,
}

/// What came of a check.
struct Outcome {
    /// Policies that are valid.
    policies: usize,
    /// Mistakes and warnings, in the order of the files.
    found: Vec<Mistake>,
    /// What the queries returned, if they were sent.
    answers: Vec<Answer>,
}

impl Check {
    /// Writes each mistake and warning, and one closing line; the exit code is 0 when all policies are good, else 1.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let outcome = self.check()?;
        if self.written_out {
            self.write_out(out).context("cannot write the presets")?;
        }
        self.output.write(&outcome, out).and_then(|()| out.flush()).context("cannot write the result")?;
        let fails = |mistake: &Mistake| self.deny_warnings || mistake.code.level() == Level::Error;
        Ok(if outcome.found.iter().any(fails) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn write_out(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let files = self.paths.iter().filter_map(|path| read_files(path).ok()).flatten();
        for file in files {
            if let Some(yaml) = written_out(&file) {
                writeln!(out, "# {}: its preset stands for\n{yaml}", file.name)?;
            }
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome { policies: 0, found: Vec::new(), answers: Vec::new() };
        for path in &self.paths {
            match read_files(path) {
                Ok(files) if files.is_empty() => {
                    let help = "policies are files that end in .yaml or .yml".to_owned();
                    let path = path.display().to_string();
                    outcome.found.push(Mistake::whole(path, "there are no policies here", Some(help)));
                }
                Ok(files) => self.check_files(&files, &mut outcome)?,
                Err(mistakes) => outcome.found.extend(mistakes.iter().cloned()),
            }
        }
        Ok(outcome)
    }

    fn check_files(&self, files: &[SourceFile], outcome: &mut Outcome) -> anyhow::Result<()> {
        let mut found: Vec<Mistake> = Vec::new();
        match PolicySet::from_files(files) {
            Ok(set) => outcome.policies += set.len(),
            Err(mistakes) => found.extend(mistakes.iter().cloned()),
        }
        let assumptions = Assumptions { scrape_interval: self.scrape_interval };
        let mut warned: Vec<Mistake> = files.iter().flat_map(|file| warnings(file, assumptions)).collect();
        if self.asking.is_wanted() {
            let answers = self.asking.ask(files)?;
            warned.extend(live::warnings(files, &answers));
            outcome.answers.extend(answers);
        }
        found.extend(warned.into_iter().filter(|warning| !self.allow.contains(&warning.code)));
        found.sort_by(|a, b| (&a.file, a.order()).cmp(&(&b.file, b.order())));
        outcome.found.extend(found);
        Ok(())
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
