//! `lastgood audit report`: a page for auditors.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::chains;
use super::list::warn_of;
use super::select::Selection;
use super::source::Where;
use crate::audit::report::{Report as Page, html};

/// Arguments of `lastgood audit report`.
#[derive(Args, Debug)]
pub(super) struct Report {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    selection: Selection,
    /// The file that the page is written to; by default standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Report {
    /// Writes the page.
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let source = self.place.open()?;
        let (records, unread) = self.selection.read(&source, false)?;
        let (from, to) = (self.selection.from, self.selection.to);
        let by_cluster = chains::read(&source, self.place.cluster.as_deref())?;
        let chains: Vec<_> = by_cluster.into_iter().map(|read| read.check(None, &[]).0).collect();
        let page = html(&Page { place: source.place(), from, to, chains: &chains, records: &records });
        match &self.output {
            Some(file) => {
                std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
            }
            None => out.write_all(page.as_bytes())?,
        }
        warn_of(&unread)?;
        Ok(ExitCode::SUCCESS)
    }
}
