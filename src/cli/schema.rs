//! `lastgood schema`: what an editor needs to know about the files that people write.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

/// Prints the JSON Schema of policy files, or of another kind of file.
#[derive(Debug, Args)]
pub struct Schema {
    /// The kind of file.
    #[arg(value_enum, default_value_t = Kind::Policy)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Policy files.
    Policy,
    /// The file of sinks, as `lastgood run --sinks` takes it.
    Sinks,
}

impl Schema {
    /// Writes the schema.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let schema = match self.kind {
            Kind::Policy => crate::policy::schema(),
            Kind::Sinks => crate::sinks::schema(),
        };
        let schema = serde_json::to_string_pretty(&schema).context("cannot write the schema")?;
        writeln!(out, "{schema}").context("cannot write the schema")?;
        Ok(ExitCode::SUCCESS)
    }
}
