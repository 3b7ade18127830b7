//! `lastgood check`: are these policies good?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::policy::{Mistake, Mistakes, PolicySet, read_files};

/// Checks policy files without a cluster.
#[derive(Debug, Args)]
pub struct Check {
    /// Directories with policies (`*.yaml`, `*.yml`), or single policy files.
    #[arg(required = true, value_name = "DIR_OR_FILE")]
    pub paths: Vec<PathBuf>,
}

impl Check {
    /// Writes each mistake and one closing line; the exit code is 0 when all policies are valid, else 1.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let mut policies = 0;
        let mut mistakes: Vec<Mistake> = Vec::new();
        for path in &self.paths {
            match check(path) {
                Ok(count) => policies += count,
                Err(found) => mistakes.extend(found.iter().cloned()),
            }
        }
        let failed = "cannot write the result";
        for mistake in &mistakes {
            writeln!(out, "{mistake}").context(failed)?;
        }
        let code = if let Some(mistakes) = Mistakes::new(mistakes) {
            writeln!(out, "{} found", counted(mistakes.len(), "mistake", "mistakes")).context(failed)?;
            ExitCode::FAILURE
        } else {
            writeln!(out, "{} valid", counted(policies, "policy is", "policies are")).context(failed)?;
            ExitCode::SUCCESS
        };
        out.flush().context(failed)?;
        Ok(code)
    }
}

fn check(path: &std::path::Path) -> Result<usize, Mistakes> {
    let files = read_files(path)?;
    if files.is_empty() {
        let help = "policies are files that end in .yaml or .yml".to_owned();
        return Err(
            Mistake::whole(path.display().to_string(), "there are no policies here", Some(help)).into()
        );
    }
    PolicySet::from_files(&files).map(|set| set.len())
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
