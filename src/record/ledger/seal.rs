//! The first record of a year, which seals the year before.

use serde::{Deserialize, Serialize};

use super::{Digest, Record};

/// The reason of such a record.
pub const SEALED: &str = "LedgerSealed";

/// Its detail: what the year before ended with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seal {
    /// The branch that nothing is added to any more.
    pub branch: String,
    /// Its last commit.
    pub commit: String,
    /// The number of its last record.
    pub sequence: u64,
    /// The hash of that record's file.
    pub hash: Digest,
}

impl Seal {
    /// The seal in a record, if it is one.
    pub fn of(record: &Record) -> Option<Self> {
        if record.reason != SEALED {
            return None;
        }
        Self::deserialize(&record.detail).ok()
    }

    /// The record, told by whoever recorded `occasion`, the first that goes into the new year's branch.
    pub fn record(&self, occasion: &Record) -> Result<Record, serde_json::Error> {
        let Self { branch, sequence, .. } = self;
        Ok(Record {
            id: format!("ledger-sealed-{sequence}"),
            at: occasion.at,
            reason: SEALED.to_owned(),
            sentence: format!("The ledger goes on in a new branch: {branch} ends with record {sequence}."),
            warning: false,
            cluster: occasion.cluster.clone(),
            application: None,
            rollback: None,
            by: occasion.by.clone(),
            policy: None,
            detail: serde_json::to_value(self)?,
            evidence: None,
            inputs: None,
        })
    }
}
