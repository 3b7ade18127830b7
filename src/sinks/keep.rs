//! Where it is kept how far each sink has got: beside the states of applications, one document for each sink.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use crate::engine::facts::AppKey;
use crate::record::state::{Document, SaveError, StateStore, Summary, Version};

/// What is kept for a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kept {
    /// For each ledger, by its place.
    pub ledgers: BTreeMap<String, Progress>,
}

/// How far a sink has got with a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// What need not be sent any more.
    pub cursor: Cursor,
    /// The newest record that was seen in the ledger.
    pub newest: u64,
    /// The newest failure, while something is at fault.
    pub last_error: Option<Failure>,
}

/// Why a sink does not have its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// When it happened.
    pub at: Timestamp,
    /// What.
    pub why: String,
}

impl Progress {
    /// Records that are in the ledger and not settled.
    pub fn behind(&self) -> u64 {
        self.newest.saturating_sub(self.cursor.through).saturating_add(self.cursor.open.len() as u64)
    }
}

/// Keeps one sink's progress.
#[derive(Clone)]
pub struct Keeper {
    store: Arc<dyn StateStore>,
    key: AppKey,
}

impl Keeper {
    /// `namespace` is that of the daemon's own objects.
    pub fn new(store: Arc<dyn StateStore>, namespace: &str, sink: &str) -> Self {
        // No Application is called so.
        Self { store, key: AppKey::new(namespace, format!("{sink}.sinks.lastgood.dev")) }
    }

    /// Reads it; nothing is kept of a sink that is new.
    pub async fn load(&self) -> anyhow::Result<(Kept, Option<Version>)> {
        let Some(stored) = self.store.load(&self.key).await? else { return Ok((Kept::default(), None)) };
        let kept = serde_json::from_value(stored.document.state)
            .with_context(|| format!("what is kept in {} cannot be read", self.key))?;
        Ok((kept, Some(stored.version)))
    }

    /// Writes it if what is there now is `expect`.
    pub async fn save(&self, kept: &Kept, expect: Option<&Version>) -> Result<Version, SaveError> {
        let document = Document {
            summary: summary(kept),
            state: serde_json::to_value(kept).map_err(|error| SaveError::Other {
                app: self.key.clone(),
                place: self.key.to_string(),
                why: error.to_string(),
            })?,
        };
        self.store.save(&self.key, "", &document, expect).await
    }
}

fn summary(kept: &Kept) -> Summary {
    let behind: u64 = kept.ledgers.values().map(Progress::behind).sum();
    let dead: u64 = kept.ledgers.values().map(|one| one.cursor.dead_count).sum();
    let failure = kept.ledgers.values().filter_map(|one| one.last_error.as_ref()).max_by_key(|one| one.at);
    let phase = if failure.is_some() { "Failing" } else { "Delivering" };
    let mut reason = format!("{behind} records behind, {dead} set aside");
    reason.extend(failure.iter().map(|failure| format!("; {}", failure.why)));
    Summary { phase: phase.to_owned(), reason, ..Summary::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::state::files::FileStore;

    #[tokio::test]
    async fn progress_outlives_the_daemon_and_is_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = || Keeper::new(Arc::new(FileStore::open(folder.path()).unwrap()), "argocd", "siem");
        assert!(matches!(keeper().load().await.unwrap(), (kept, None) if kept == Kept::default()));
        let mut kept = Kept::default();
        let progress = kept.ledgers.entry("here".into()).or_default();
        (progress.cursor.through, progress.newest) = (3, 5);
        progress.cursor.open.insert(2, None);
        assert_eq!(progress.behind(), 3);
        let first = keeper().save(&kept, None).await.unwrap();
        assert_eq!(keeper().load().await.unwrap(), (kept.clone(), Some(first.clone())));
        keeper().save(&kept, Some(&first)).await.unwrap();
        assert!(matches!(keeper().save(&kept, Some(&first)).await, Err(SaveError::Conflict { .. })));
    }
}
