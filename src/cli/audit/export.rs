//! `lastgood audit export`: records for other tools.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::list::warn_of;
use super::select::Selection;
use super::source::Where;
use crate::audit::export::{self, CSV_HEADER};

/// Arguments of `lastgood audit export`.
#[derive(Args, Debug)]
pub(super) struct Export {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    selection: Selection,
    /// The form of the records.
    #[arg(long, value_enum)]
    format: Form,
    /// Exports also what decisions were taken from, which is much; in `jsonl` only.
    #[arg(long)]
    inputs: bool,
}

/// The form of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One JSON object a line: the whole record, with its number and the hash of its file.
    Jsonl,
    /// A table of what every record has, for spreadsheets.
    Csv,
    /// Common Event Format (CEF).
    Cef,
    /// Open Cybersecurity Schema Framework 1.3.0, class Application Lifecycle.
    Ocsf,
}

impl Export {
    /// Prints a line for each record.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let (found, unread) = self.selection.read(&self.place.open()?, self.inputs)?;
        let form = match self.format {
            Form::Jsonl => export::Form::Jsonl,
            Form::Csv => export::Form::Csv,
            Form::Cef => export::Form::Cef,
            Form::Ocsf => export::Form::Ocsf,
        };
        if form == export::Form::Csv {
            write!(out, "{CSV_HEADER}\r\n")?;
        }
        let end = if form == export::Form::Csv { "\r\n" } else { "\n" };
        for one in found {
            write!(out, "{}{end}", form.line(&one))?;
        }
        warn_of(&unread)?;
        Ok(ExitCode::SUCCESS)
    }
}
