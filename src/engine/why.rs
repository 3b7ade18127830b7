//! Every reason why the daemon does not act, in words, with what a person can do about it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::{Refusal, Touched};
use super::facts::{Origin, Revision, Revisions, WrittenBetween};
use super::time::human;

/// Why the daemon does not act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Why {
    /// No revision is known to be good.
    #[error("no last good revision is known for this application")]
    LastGoodUnknown,
    /// Last good is what is bad.
    #[error("{bad} itself was last good")]
    BadIsLastGood {
        /// Bad.
        bad: Revisions,
    },
    /// Last good was rolled back itself.
    #[error("last good {good} was itself rolled back")]
    LastGoodWasRolledBack {
        /// Last good.
        good: Revision,
    },
    /// Bad is our own revert.
    #[error("{bad} is lastgood's own rollback, and a rollback is never rolled back")]
    BadIsARollback {
        /// The revert.
        bad: Revision,
    },
    /// Bad was rolled back before and was synced again.
    #[error("{bad} was rolled back before by {revert}, and was synced again")]
    AlreadyRolledBack {
        /// Bad.
        bad: Revision,
        /// The revert.
        revert: Revision,
    },
    /// The application has several sources, or one that is not Git.
    #[error("the change cannot be reverted here: {reason}")]
    SourceNotRevertible {
        /// Why.
        reason: String,
    },
    /// The Application's own specification changed since last good.
    #[error("the Application's own source specification changed since last good: the change is not (only) in {repo_url}{}{}", writer(written_by.as_ref(), between.as_deref()), also.as_ref().map(|also| format!("; {also}")).unwrap_or_default())]
    SpecChanged {
        /// The repository of its manifests.
        repo_url: String,
        /// What writes the specification.
        written_by: Option<Origin>,
        /// What that was synced to at last good and is now.
        #[serde(default)]
        between: Option<Box<WrittenBetween>>,
        /// Why it is not undone there, where more is known.
        #[serde(default)]
        also: Option<String>,
    },
    /// Other applications are rendered from the same files.
    #[error("the revert would change files that other applications are rendered from as well: {}", list(with.iter(), ", "))]
    SharedFiles {
        /// Which ones.
        with: Vec<Touched>,
    },
    /// The verdicts on other applications that are rendered from the same files did not come in time.
    #[error("the revert would change files that other applications are rendered from as well, and within {} it was not known how they do: {}", human(*after), list(with.iter(), ", "))]
    SharedUndecided {
        /// Which ones.
        with: Vec<Touched>,
        /// How long it was waited for.
        #[serde(with = "super::time::seconds")]
        after: Duration,
    },
    /// A newer commit that changes the application's files, and may be the fix, was not synced in time.
    #[error("{newer} on the branch changes the application's files too and may be the fix, but Argo CD has not synced it within {}{}", human(*after), if *auto_sync { "" } else { ": its auto-sync is off" })]
    NewerNotSynced {
        /// The newer commit.
        newer: Revision,
        /// How long it was waited for.
        #[serde(with = "super::time::seconds")]
        after: Duration,
        /// Whether Argo CD syncs by itself.
        auto_sync: bool,
    },
    /// One of several repositories has the revert, and another one cannot have it.
    #[error("the revert is in {}, but not in {}: {reason}", list(done.iter(), ", "), list(missing.iter(), ", "))]
    PartlyReverted {
        /// The repositories that have it, each with its branch and the commit.
        done: Vec<String>,
        /// The repositories that have not.
        missing: Vec<String>,
        /// Why they have not.
        reason: String,
    },
    /// Somebody closed the pull request without merging it.
    #[error("the pull request {url} was closed and not merged")]
    PullRequestClosed {
        /// Its address.
        url: String,
    },
    /// Too many rollbacks in 24 hours.
    #[error("{count} rollbacks within 24 hours is the limit: a loop is likelier than bad commits")]
    Budget {
        /// How many there were.
        count: u32,
    },
    /// Many applications are sick at once.
    #[error(
        "{others} other applications are degraded at the same time: the environment is likelier at fault than this change"
    )]
    Environment {
        /// How many others.
        others: u32,
    },
    /// Commits after bad changed the same lines.
    #[error("later commits changed the same lines in {}", files.join(", "))]
    Conflict {
        /// The files.
        files: Vec<String>,
    },
    /// Git or its server says no.
    #[error("{refusal}")]
    Refused {
        /// What it says.
        refusal: Refusal,
    },
    /// The push could not be done in time.
    #[error("the revert could not be pushed within {}: {error}", human(*after))]
    PushFailed {
        /// The last error.
        error: String,
        /// How long it was tried.
        #[serde(with = "super::time::seconds")]
        after: Duration,
    },
    /// Argo CD did not make the revert live in time.
    #[error("the revert {} is on the branch, but Argo CD has not made it live within {}{}", list(reverts.iter(), "+"), human(*after), if *auto_sync { "" } else { ": its auto-sync is off" })]
    NotLive {
        /// The revert, in each repository.
        reverts: Vec<Revision>,
        /// How long it was waited for.
        #[serde(with = "super::time::seconds")]
        after: Duration,
        /// Whether Argo CD syncs by itself.
        auto_sync: bool,
    },
    /// The revert is live, but the signals still fail.
    #[error("the rollback to {live} did not help within {}: {}", human(*after), still.join("; "))]
    DidNotHelp {
        /// What is live.
        live: Revisions,
        /// How long it was waited for.
        #[serde(with = "super::time::seconds")]
        after: Duration,
        /// What still fails.
        still: Vec<String>,
    },
    /// The content that was rolled back came back before the rollback was confirmed.
    #[error("the content that was rolled back came back with {live}")]
    ContentReturned {
        /// What brought it back.
        live: Revision,
    },
}

impl Why {
    /// Whether the application is sick (and not only something in the way).
    pub fn is_sickness(&self) -> bool {
        matches!(self, Self::Environment { .. } | Self::DidNotHelp { .. })
    }

    /// What a person can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::LastGoodUnknown => "Fix it by hand; the next analysis that ends healthy makes a last good.",
            Self::BadIsLastGood { .. }
            | Self::LastGoodWasRolledBack { .. }
            | Self::BadIsARollback { .. }
            | Self::DidNotHelp { .. } => "Look for a cause outside of the last change.",
            Self::AlreadyRolledBack { .. } | Self::ContentReturned { .. } | Self::Budget { .. } => {
                "Find who or what brings the change back (an image updater, a pipeline) and stop it."
            }
            Self::SharedFiles { .. } | Self::SharedUndecided { .. } => {
                "Revert by hand, if that is right for all of them, or let the policy say `sharedFiles: revert`."
            }
            Self::NewerNotSynced { .. } => {
                "See why Argo CD does not sync it; if it is no fix, revert by hand."
            }
            Self::PartlyReverted { .. } => {
                "Revert by hand where the revert is missing, or revert the revert where it is."
            }
            Self::SourceNotRevertible { .. } | Self::SpecChanged { .. } => {
                "Revert the change by hand where it was made."
            }
            Self::Environment { .. } => {
                "Look at what the applications share: nodes, network, DNS, a dependency."
            }
            Self::Conflict { .. } => "Revert by hand, or push a fix.",
            Self::PullRequestClosed { .. } => "Somebody decided against it: push a fix, or revert by hand.",
            Self::Refused { refusal } => refusal.advice(),
            Self::PushFailed { .. } => "Revert by hand; then see to what stopped the push.",
            Self::NotLive { .. } => {
                "See why Argo CD does not sync: auto-sync off, a sync window, a stuck operation."
            }
        }
    }
}

fn writer(origin: Option<&Origin>, between: Option<&WrittenBetween>) -> String {
    let Some(origin) = origin else { return String::new() };
    let between = between.map(|WrittenBetween { repo_url, target_revision, good, bad }| {
        let (good, bad) = (good.short(), bad.short());
        format!(", in `{target_revision}` of {repo_url} between {good} and {bad}")
    });
    format!(", but where {origin} has it from{}", between.unwrap_or_default())
}

/// Whatever it is, one after the other.
pub(super) fn list<T: ToString>(things: impl Iterator<Item = T>, between: &str) -> String {
    things.map(|thing| thing.to_string()).collect::<Vec<_>>().join(between)
}
