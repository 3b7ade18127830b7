//! `lastgood audit list`: the records, one a line.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::select::Selection;
use super::source::Where;
use crate::audit::Placed;
use crate::policy::mistake::printable;

/// Arguments of `lastgood audit list`.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    selection: Selection,
    /// The form of the list.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// The form of a list.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl List {
    /// Prints a line for each record.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let (found, unread) = self.selection.read(&self.place.open()?, false)?;
        for one in &found {
            match self.output {
                Form::Text => text(one, out)?,
                Form::Json => json(one, out)?,
            }
        }
        warn_of(&unread)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Says which files were passed over.
pub(super) fn warn_of(unread: &[String]) -> io::Result<()> {
    if let Some(first) = unread.first() {
        let more = if unread.len() > 1 { format!(" and {} more", unread.len() - 1) } else { String::new() };
        writeln!(
            io::stderr(),
            "warning: {}{more}: no record of a ledger; `lastgood audit verify` says why",
            printable(first)
        )?;
    }
    Ok(())
}

fn text(found: &Placed, out: &mut dyn Write) -> io::Result<()> {
    let record = &found.record;
    let application = found.application();
    let about = if application.is_empty() { "-" } else { &application };
    let line = format!("{:.3} {} {} {} {}", record.at, record.id, record.reason, about, record.sentence);
    writeln!(out, "{}", printable(&line))
}

fn json(found: &Placed, out: &mut dyn Write) -> io::Result<()> {
    let record = &found.record;
    let line = json!({
        "sequence": found.sequence,
        "id": record.id,
        "at": record.at,
        "reason": record.reason,
        "application": record.application.as_ref().map(|_| found.application()),
        "rollback": record.rollback,
        "warning": record.warning,
        "sentence": record.sentence,
    });
    writeln!(out, "{line}")
}
