//! Records about the daemon itself: they belong to no application.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::act::git::checkout;
use crate::policy::PolicySet;
use crate::record::account;
use crate::record::ledger::{Digest, Record, Recorder, canonical};
use crate::record::secrets;

/// Makes them.
pub(super) struct Own {
    cluster: String,
    by: Recorder,
    made: AtomicU64,
}

impl Own {
    pub(super) fn new(cluster: &str, by: &Recorder) -> Self {
        Self { cluster: cluster.to_owned(), by: by.clone(), made: AtomicU64::new(0) }
    }

    /// Some thing that happened now.
    pub(super) fn record(&self, reason: &str, sentence: &str, warning: bool, mut detail: Value) -> Record {
        let now = Timestamp::now();
        let count = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let whose = self.by.pod.as_deref().and_then(|pod| pod.rsplit('/').next()).unwrap_or(&self.cluster);
        secrets::hide(&mut detail);
        Record {
            id: account::id(now, &format!("daemon-{whose}"), count),
            at: now,
            reason: reason.to_owned(),
            sentence: secrets::hidden(sentence),
            warning,
            cluster: self.cluster.clone(),
            application: None,
            rollback: None,
            by: self.by.clone(),
            policy: None,
            detail,
            evidence: None,
            inputs: None,
        }
    }

    /// The daemon began.
    pub(super) fn started(&self) -> Record {
        let sentence = format!("lastgood {} started", self.by.version);
        self.record("DaemonStarted", &sentence, false, json!({}))
    }

    /// These policies are in force from now on; `folder` is where they were read.
    pub(super) fn policies(&self, set: &PolicySet, folder: Option<&Path>) -> Record {
        let one = |loaded: &crate::policy::Loaded| {
            let hash = Digest::of(loaded.policy.text.as_bytes());
            json!({ "name": loaded.policy.name, "file": loaded.file, "hash": hash })
        };
        let policies: Vec<Value> = set.iter().map(one).collect();
        let hash = canonical(&policies).map(|bytes| Digest::of(&bytes)).ok();
        let checkout = folder.and_then(checkout::of);
        let sentence = match &checkout {
            Some(checkout) => format!(
                "{} policies are in force, from commit {}{}",
                set.len(),
                checkout.commit.revision.short(),
                if checkout.changed { " with changes that are not committed" } else { "" }
            ),
            None => format!("{} policies are in force", set.len()),
        };
        let commit = checkout.map(|c| json!({ "commit": c.commit, "changed": c.changed }));
        let detail = json!({ "hash": hash, "policies": policies, "checkout": commit });
        self.record("PoliciesLoaded", &sentence, set.is_empty(), detail)
    }
}
