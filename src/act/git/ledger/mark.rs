//! What the commits of a ledger's branch say about the chain, so that its head is known from the newest one alone.

use std::collections::BTreeMap;

use super::super::message::{one_line, trailer, trailers};
use crate::record::ledger::{Digest, Head, Record};

/// Which records a commit adds, and the hash of the last one's file: `12-14 sha256:…`.
pub const TRAILER_LEDGER: &str = "Lastgood-Ledger";
/// The last record of a branch that ends here, and the hash of its file: `14 sha256:…`.
pub const TRAILER_LEDGER_END: &str = "Lastgood-Ledger-End";
/// The branch that goes on.
pub const TRAILER_LEDGER_NEXT: &str = "Lastgood-Ledger-Next";

/// Keeps forges from starting pipelines: nothing here is to be built. GitHub, GitLab, Gitea, Forgejo, Bitbucket and Azure
/// DevOps all know this one.
const SKIP_CI: &str = "[skip ci]";
/// Records that a message names; the files have them all.
const NAMED_MAX: usize = 20;
/// The longest line of a message, in characters.
const LINE_CHARS_MAX: usize = 200;
/// The longest subject.
const SUBJECT_CHARS_MAX: usize = 100;

/// What a commit is to the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It adds the records from this number on to the head.
    Added { first: u64, head: Head },
    /// It ends the branch, and adds nothing.
    Ended { head: Head, next: String },
}

impl Mark {
    /// The newest record.
    pub(super) fn head(&self) -> &Head {
        match self {
            Self::Added { head, .. } | Self::Ended { head, .. } => head,
        }
    }

    /// Reads it from a commit's message; none if there is none.
    pub(super) fn read(message: &str) -> Option<Self> {
        let trailers = trailers(message);
        if let Some(end) = trailer(&trailers, TRAILER_LEDGER_END) {
            let (sequence, hash) = end.split_once(' ')?;
            let next = trailer(&trailers, TRAILER_LEDGER_NEXT)?.to_owned();
            return Some(Self::Ended { head: head(sequence, hash)?, next });
        }
        let (range, hash) = trailer(&trailers, TRAILER_LEDGER)?.split_once(' ')?;
        let (first, last) = range.split_once('-')?;
        let (first, head) = (first.parse().ok()?, head(last, hash)?);
        (1..=head.sequence).contains(&first).then_some(Self::Added { first, head })
    }

    /// The message of the commit that ends a branch.
    pub(super) fn message_of_end(head: &Head, next: &str) -> String {
        let Head { sequence, hash } = head;
        format!(
            "End the branch with record {sequence}\n\nThe ledger goes on in {next}.\n\n{SKIP_CI}\n\n\
             {TRAILER_LEDGER_END}: {sequence} {hash}\n{TRAILER_LEDGER_NEXT}: {next}\n"
        )
    }

    /// The message of the commit that adds these records, of which the last one is the new head.
    pub(super) fn message_of(records: &[&Record], head: &Head) -> String {
        let count = records.len() as u64;
        let first = head.sequence.saturating_sub(count.saturating_sub(1));
        let mut lines: Vec<_> = records.iter().take(NAMED_MAX).map(|record| line(record)).collect();
        if let Some(more) = count.checked_sub(NAMED_MAX as u64).filter(|more| *more > 0) {
            lines.push(format!("- and {more} more"));
        }
        let Head { sequence: last, hash } = head;
        format!(
            "{}\n\n{}\n\n{SKIP_CI}\n\n{TRAILER_LEDGER}: {first}-{last} {hash}\n",
            subject(records),
            lines.join("\n")
        )
    }
}

fn head(sequence: &str, hash: &str) -> Option<Head> {
    Some(Head { sequence: sequence.parse().ok()?, hash: Digest::try_from(hash.to_owned()).ok()? })
}

/// `Record 3 entries: 2 AnalysisEnded, HoldBegan`.
fn subject(records: &[&Record]) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for record in records {
        *counts.entry(record.reason.as_str()).or_default() += 1;
    }
    let told = counts.iter().map(|(reason, count)| match count {
        1 => (*reason).to_owned(),
        count => format!("{count} {reason}"),
    });
    let noun = if records.len() == 1 { "entry" } else { "entries" };
    let subject = format!("Record {} {noun}: {}", records.len(), told.collect::<Vec<_>>().join(", "));
    one_line(&subject, SUBJECT_CHARS_MAX)
}

// The dash keeps a sentence from being read as anything else, as in a revert's message.
fn line(record: &Record) -> String {
    let app = record.application.as_ref().map(|app| format!("{}/{}: ", app.namespace, app.name));
    let text = format!("- {}{}", app.unwrap_or_default(), record.sentence);
    one_line(&text, LINE_CHARS_MAX)
}
