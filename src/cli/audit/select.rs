//! Which records are meant.

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::super::replay::time;
use super::source::Source;
use crate::audit::Placed;
use crate::record::ledger::{Digest, Link, Record, path_of};

/// Which records are meant; without any of it all.
#[derive(Args, Debug)]
pub(super) struct Selection {
    /// The first time: RFC 3339 or Unix seconds.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) from: Option<Timestamp>,
    /// The time before which they end: RFC 3339 or Unix seconds.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) to: Option<Timestamp>,
    /// The application, as `NAME` or `NAMESPACE/NAME`.
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// The kind of record, as in the log: `RevertPushed`; may be given several times.
    #[arg(long = "reason", value_name = "WORD")]
    reasons: Vec<String>,
    /// The rollback that they belong to.
    #[arg(long, value_name = "ID")]
    rollback: Option<String>,
}

impl Selection {
    /// Reads the records that are meant, in the chain's order, and the paths of files that are none.
    ///
    /// What decisions were taken from is most of a record, and is left out unless it is asked for.
    pub(super) fn read(
        &self,
        source: &Source,
        with_inputs: bool,
    ) -> anyhow::Result<(Vec<Placed>, Vec<String>)> {
        let read = source.each(
            |path| self.may_hold(path),
            |file, bytes| {
                let link = Link::read(bytes).map_err(|_| file.path.clone())?;
                let mut record = link.record().map_err(|_| file.path.clone())?;
                if !with_inputs {
                    record.inputs = None;
                }
                let placed = |record| Placed { sequence: link.sequence, hash: Digest::of(bytes), record };
                Ok(self.takes(&record).then(|| placed(record)))
            },
        )?;
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        for one in read {
            match one {
                Ok(one) => found.extend(one),
                Err(path) => unread.push(path),
            }
        }
        found.sort_by(|a, b| (&a.record.cluster, a.sequence).cmp(&(&b.record.cluster, b.sequence)));
        Ok((found, unread))
    }

    /// Whether a file of this path can hold a record that is meant: whole days of other times are not read.
    fn may_hold(&self, path: &str) -> bool {
        let day = |at: Timestamp| path_of("", at).trim_end_matches(".json").to_owned();
        let last = self.to.and_then(|to| to.checked_sub(SignedDuration::from_nanos(1)).ok());
        let folder = path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or_default();
        self.from.is_none_or(|from| *day(from) <= *folder) && last.is_none_or(|last| *folder <= *day(last))
    }

    fn takes(&self, record: &Record) -> bool {
        let of_application = |wanted: &String| {
            record.application.as_ref().is_some_and(|app| match wanted.split_once('/') {
                Some((namespace, name)) => app.namespace == namespace && app.name == name,
                None => app.name == *wanted,
            })
        };
        self.from.is_none_or(|from| from <= record.at)
            && self.to.is_none_or(|to| record.at < to)
            && self.application.as_ref().is_none_or(of_application)
            && (self.reasons.is_empty() || self.reasons.contains(&record.reason))
            && self.rollback.as_ref().is_none_or(|rollback| record.rollback.as_ref() == Some(rollback))
    }
}
