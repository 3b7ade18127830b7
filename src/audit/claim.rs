//! What records say of commits.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::record::ledger::{Digest, Link};

/// What a record says of commits.
#[derive(Clone, Debug)]
pub enum Claim {
    /// A revert will be made, whose message carries the hash of this record.
    Intended {
        /// Names the rollback.
        rollback: String,
        /// The record's hash.
        record: Digest,
    },
    /// A revert is on its branch.
    Pushed {
        /// Names the rollback.
        rollback: String,
        /// Whether it was there before the daemon looked: then somebody else may have made it.
        already: bool,
        /// What was reverted in each repository; none if this version cannot read it.
        parts: Option<Vec<Part>>,
    },
}

/// A revert in one repository.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The repository.
    pub repo_url: String,
    /// The branch.
    pub branch: String,
    /// What was bad.
    pub bad: String,
    /// The commit that reverts it.
    pub revert: String,
    /// The commits that were undone.
    #[serde(default)]
    pub culprits: Vec<Named>,
    /// The files that the revert changes; of many the first ones, and how many more.
    #[serde(default)]
    pub files: Vec<String>,
}

/// A commit as a record describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// Its id.
    pub revision: String,
    /// Its author, `Name <address>`.
    pub author: String,
    /// Its author's time.
    pub authored_at: Timestamp,
    /// The first line of its message.
    pub subject: String,
}

impl Claim {
    /// What this record says of commits, if anything.
    pub fn of(link: &Link) -> Option<Self> {
        let record = &link.record;
        let rollback = || record.get("rollback").and_then(Value::as_str).unwrap_or_default().to_owned();
        match record.get("reason").and_then(Value::as_str)? {
            "RevertIntended" => {
                Some(Self::Intended { rollback: rollback(), record: link.record_hash().ok()? })
            }
            "RevertPushed" => {
                let detail = record.get("detail");
                let already = detail.and_then(|detail| detail.get("already")).and_then(Value::as_bool);
                let parts = detail.and_then(|detail| detail.pointer("/record/parts"));
                Some(Self::Pushed {
                    rollback: rollback(),
                    already: already.unwrap_or_default(),
                    parts: parts.and_then(|parts| Vec::deserialize(parts).ok()),
                })
            }
            _ => None,
        }
    }
}
