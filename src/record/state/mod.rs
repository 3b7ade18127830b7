//! Where the state of each application is kept over a restart: in the Kubernetes API or in local files.
//!
//! Every save says which version it expects to replace, so that of two daemons only one wins.

pub mod files;
pub mod kube;

use std::fmt;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::facts::AppKey;

/// Keeps one document for each application.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Reads an application's document; none when nothing was saved yet.
    ///
    /// One that was saved for another uid is of an earlier Application of that name: it counts as nothing.
    async fn load(&self, app: &AppKey) -> Result<Option<Stored>, LoadError>;

    /// Writes an application's document if what is there now is `expect`: none means that nothing is there.
    ///
    /// `uid` is the Application object's uid: the document goes when that object goes, and what was saved for another one
    /// counts as nothing. An empty one is of no Application: the document stays.
    async fn save(
        &self,
        app: &AppKey,
        uid: &str,
        document: &Document,
        expect: Option<&Version>,
    ) -> Result<Version, SaveError>;
}

/// What is kept for an application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// For people.
    pub summary: Summary,
    /// For the daemon.
    pub state: serde_json::Value,
}

/// The state of an application in a few words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// What lastgood does for the application now.
    pub phase: String,
    /// The revision that is live or being synced.
    pub revision: String,
    /// The newest revision whose analysis ended healthy.
    pub last_good: String,
    /// Why the phase is what it is.
    pub reason: String,
}

/// A document as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Names what was read, for the next save.
    pub version: Version,
    /// The uid of the Application object that it was saved for.
    pub uid: String,
    /// What was saved.
    pub document: Document,
}

/// Names one saved document; only the store that gave it can tell what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a state could not be read. Nothing may be decided for the application until it can.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the state of {app} from {place}: {why}")]
pub struct LoadError {
    /// Whose state.
    pub app: AppKey,
    /// Which object or file.
    pub place: String,
    /// Why not.
    pub why: String,
}

/// Why a state was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Somebody else saved meanwhile: load again and decide anew.
    #[error("the state of {app} in {place} was changed by somebody else; is a second daemon running?")]
    Conflict {
        /// Whose state.
        app: AppKey,
        /// Which object or file.
        place: String,
    },
    /// It is not known whether it was saved: load before the next save.
    #[error("cannot save the state of {app} to {place}: {why}")]
    Other {
        /// Whose state.
        app: AppKey,
        /// Which object or file.
        place: String,
        /// Why not.
        why: String,
    },
}
