//! `lastgood schema`: what an editor needs to know about policy files.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

/// Prints the JSON Schema of policy files.
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    /// Writes the schema.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let schema =
            serde_json::to_string_pretty(&crate::policy::schema()).context("cannot write the schema")?;
        writeln!(out, "{schema}").context("cannot write the schema")?;
        Ok(ExitCode::SUCCESS)
    }
}
