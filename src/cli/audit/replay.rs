//! `lastgood audit replay`: takes a recorded decision again, from its record alone.

use std::fs;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::policy::mistake::printable;
use crate::record::account::inputs::{self, Again};
use crate::record::ledger::{Link, Record};

/// Arguments of `lastgood audit replay`.
#[derive(Args, Debug)]
pub(super) struct Replay {
    /// The record: a file of the ledger, or what `lastgood audit show --output json` prints; `-` is standard input.
    #[arg(value_name = "FILE")]
    record: PathBuf,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Replay {
    /// Takes the decision again; fails where this version decides otherwise.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let record = read(&self.record)?;
        let again = inputs::replay(&record)?;
        match self.output {
            Form::Text => text(&record, &again, out)?,
            Form::Json => {
                let entries: Vec<_> = again.entries.iter().map(|entry| entry.kind.to_string()).collect();
                let same = again.differences.is_empty();
                let told = json!({
                    "id": record.id, "reason": record.reason, "same": same,
                    "differences": again.differences, "decided": entries,
                });
                writeln!(out, "{told}")?;
            }
        }
        Ok(if again.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn read(path: &Path) -> anyhow::Result<Record> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    }
    let text = bytes.trim_ascii();
    // Whether it is the one that was written is for `audit verify`.
    let record = match Link::read(text) {
        Ok(link) => link.record(),
        Err(_) => serde_json::from_slice(text),
    };
    record.with_context(|| format!("{shown} is not a record of a ledger"))
}

fn text(record: &Record, again: &Again, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} {}: {}", record.at, printable(&record.reason), printable(&record.sentence))?;
    if again.differences.is_empty() {
        return writeln!(out, "The same is decided again:\n{}", decided(again));
    }
    writeln!(out, "It is decided otherwise now:\n{}", decided(again))?;
    for difference in &again.differences {
        writeln!(out, "  {}", printable(difference))?;
    }
    Ok(())
}

fn decided(again: &Again) -> String {
    let line = |entry: &crate::engine::entry::Entry| {
        format!("  {}: {}", entry.kind.reason(), printable(&entry.kind.to_string()))
    };
    let lines: Vec<_> = again.entries.iter().map(line).collect();
    if lines.is_empty() { "  nothing".to_owned() } else { lines.join("\n") }
}
