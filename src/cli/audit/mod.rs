//! `lastgood audit`: what the ledger says, and whether it can be believed.

mod chains;
mod commits;
mod export;
mod list;
mod output;
mod replay;
mod report;
mod select;
mod show;
mod source;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `lastgood audit`.
#[derive(Args, Debug)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes records in a form that other tools read.
    Export(export::Export),
    /// Lists records, oldest first.
    List(list::List),
    /// Takes a recorded decision again, from its record alone, and says whether it is the same.
    Replay(replay::Replay),
    /// Writes a page for auditors: every change with its evidence.
    Report(report::Report),
    /// Shows one record with its evidence.
    Show(show::Show),
    /// Checks that nothing in the ledger was changed, removed or added by hand.
    Verify(verify::Verify),
}

impl Audit {
    /// Carries the command out.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Export(export) => export.run(out),
            Command::List(list) => list.run(out),
            Command::Replay(replay) => replay.run(out),
            Command::Report(report) => report.run(out),
            Command::Show(show) => show.run(out),
            Command::Verify(verify) => verify.run(out),
        }
    }
}
