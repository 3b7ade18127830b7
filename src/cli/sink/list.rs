//! `lastgood sink list`.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::At;
use crate::policy::mistake::printable;
use crate::sinks::keep::Progress;

/// Arguments of `lastgood sink list`.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    at: At,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON object a line, for each sink and ledger.
    Json,
}

/// A sink and a ledger.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    sink: &'a str,
    ledger: &'a str,
    behind: u64,
    #[serde(flatten)]
    progress: &'a Progress,
}

impl List {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        super::runtime()?.block_on(async {
            for (sink, keeper) in self.at.open().await? {
                let (kept, _) = keeper.load().await?;
                if kept.ledgers.is_empty() && matches!(self.output, Output::Text) {
                    writeln!(out, "{}: nothing was sent yet", sink.name)?;
                }
                for (ledger, progress) in &kept.ledgers {
                    let line = Line { sink: &sink.name, ledger, behind: progress.behind(), progress };
                    match self.output {
                        Output::Text => text(&line, out)?,
                        Output::Json => writeln!(out, "{}", serde_json::to_string(&line)?)?,
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn text(line: &Line<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let Line { sink, ledger, behind, progress } = line;
    let cursor = &progress.cursor;
    writeln!(
        out,
        "{sink}: {behind} behind, {} set aside, record {} of {}",
        cursor.dead_count, cursor.through, progress.newest
    )?;
    writeln!(out, "  ledger {}", printable(ledger))?;
    if let Some(failure) = &progress.last_error {
        writeln!(out, "  failing since {}: {}", failure.at, printable(&failure.why))?;
    }
    for (sequence, letter) in &cursor.dead {
        let (id, at, why) = (printable(&letter.id), letter.at, printable(&letter.why));
        writeln!(out, "  set aside: record {sequence} ({id}) at {at}: {why}")?;
    }
    Ok(())
}
