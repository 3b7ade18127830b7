//! What was seen, decided and done, and why: one enum whose sentence is log line, Kubernetes Event and evidence alike.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{Delivery, Refusal, RevertOrder, RevertRecord, RevertedPart};
use super::facts::{AppKey, Revision, Revisions};
use super::judge::{Breach, Verdict};
use super::time::human;

/// One line of an application's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When it was decided.
    pub at: Timestamp,
    /// For which application.
    pub app: AppKey,
    /// What.
    pub kind: Kind,
}

/// What an entry tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Kind {
    /// A last good revision is known.
    LastGood {
        /// Which.
        revisions: Revisions,
        /// How it is known.
        from: LastGoodFrom,
    },
    /// A sync to a new revision is being watched.
    AnalysisBegan {
        /// What is synced.
        revisions: Revisions,
        /// What it would be rolled back to.
        last_good: Option<Revisions>,
    },
    /// An analysis ended.
    AnalysisEnded {
        /// What was watched.
        revisions: Revisions,
        /// How it ended.
        verdict: Verdict,
        /// How long after the operation's start.
        took: Duration,
    },
    /// Another sync began before the verdict.
    AnalysisSuperseded {
        /// What was watched.
        revisions: Revisions,
        /// What came.
        by: Revisions,
    },
    /// A revert will be pushed (or planned, in a dry run).
    RevertIntended {
        /// What is asked for.
        order: RevertOrder,
        /// On which evidence.
        breaches: Vec<Breach>,
        /// How many other applications were sick at the time.
        others_degraded: u32,
    },
    /// It is not known or not done yet.
    RevertRetried {
        /// What failed.
        error: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The intent was given up before anything was pushed.
    RevertAbandoned {
        /// The rollback.
        rollback: String,
        /// Why.
        because: Abandoned,
    },
    /// A dry run: this would have been pushed.
    RevertPlanned {
        /// What.
        record: RevertRecord,
    },
    /// The revert is on the branch.
    RevertPushed {
        /// The rollback.
        rollback: String,
        /// What.
        record: RevertRecord,
        /// Whether it was there before us.
        already: bool,
        /// How long after the verdict.
        took: Duration,
    },
    /// Argo CD was asked to end the operation of the bad revision, which blocks the revert's.
    SyncTerminated {
        /// What it was syncing.
        revisions: Revisions,
    },
    /// Argo CD made the revert live.
    RevertLive {
        /// What is live: the revert or a descendant.
        live: Revisions,
        /// How that is known.
        how: LiveBy,
        /// How long after the push.
        took: Duration,
    },
    /// The signals that failed pass again.
    Recovered {
        /// What is live.
        live: Revisions,
        /// The durations of the steps.
        timings: Timings,
    },
    /// The daemon stops acting for this application.
    HoldBegan {
        /// Names the hold.
        id: String,
        /// Why.
        why: Why,
    },
    /// A degraded verdict, but the application is on hold already.
    Refrained {
        /// Names the hold.
        id: String,
    },
    /// It acts again.
    HoldEnded {
        /// Names the hold.
        id: String,
        /// Who or what ended it.
        by: HoldEndedBy,
    },
}

/// Why an intent to revert was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Abandoned {
    /// A newer revision was synced in the meantime, and is judged by itself.
    #[error("{} was synced in the meantime and is judged by itself", by.short())]
    Newer {
        /// What was synced.
        by: Revisions,
    },
    /// The policy was changed to a dry run.
    #[error("the policy was changed to a dry run")]
    DryRun,
}

/// How a last good revision is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LastGoodFrom {
    /// Its analysis ended healthy.
    Analysis,
    /// At first sight: from Argo CD's history, while Healthy, Synced and with passing signals.
    FirstSight,
    /// It is a revert after which the failed signals passed again.
    Recovery,
}

/// How a revert is known to be live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LiveBy {
    /// An operation applied it.
    Operation,
    /// Argo CD compared it with the cluster and found no difference, so no operation was needed.
    Comparison,
}

/// What ended a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HoldEndedBy {
    /// A later analysis ended healthy.
    HealthyAnalysis,
    /// A person, by the annotation `lastgood.dev/resume`.
    Person,
}

/// The steps of a rollback: change live → failure seen → revert pushed → revert live → recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// From the start of the bad sync to the verdict.
    pub detected: Duration,
    /// From the verdict to the revert on the branch.
    pub pushed: Duration,
    /// From the branch to the cluster.
    pub live: Duration,
    /// From the cluster to passing signals.
    pub recovered: Duration,
}

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
    #[error(
        "the Application's own source specification changed since last good: the change is not (only) in {repo_url}"
    )]
    SpecChanged {
        /// The repository of its manifests.
        repo_url: String,
    },
    /// Other applications are rendered from the same files.
    #[error("{} are rendered from files that the revert may change", list(with.iter(), ", "))]
    SharedFiles {
        /// Which ones.
        with: Vec<AppKey>,
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
        after: Duration,
    },
    /// Argo CD did not make the revert live in time.
    #[error("the revert {} is on the branch, but Argo CD has not made it live within {}{}", list(reverts.iter(), "+"), human(*after), if *auto_sync { "" } else { ": its auto-sync is off" })]
    NotLive {
        /// The revert, in each repository.
        reverts: Vec<Revision>,
        /// How long it was waited for.
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
            Self::SharedFiles { .. } => {
                "Revert by hand, if that is right for all of them; give each a folder of its own."
            }
            Self::SourceNotRevertible { .. } | Self::SpecChanged { .. } => {
                "Revert the change by hand where it was made."
            }
            Self::Environment { .. } => {
                "Look at what the applications share: nodes, network, DNS, a dependency."
            }
            Self::Conflict { .. } => "Revert by hand, or push a fix.",
            Self::Refused { refusal } => refusal.advice(),
            Self::PushFailed { .. } => "Revert by hand; then see to what stopped the push.",
            Self::NotLive { .. } => {
                "See why Argo CD does not sync: auto-sync off, a sync window, a stuck operation."
            }
        }
    }
}

impl Kind {
    /// A constant name for logs, Events and filters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::LastGood { .. } => "LastGood",
            Self::AnalysisBegan { .. } => "AnalysisBegan",
            Self::AnalysisEnded { verdict: Verdict::Healthy, .. } => "Healthy",
            Self::AnalysisEnded { verdict: Verdict::Degraded(_), .. } => "Degraded",
            Self::AnalysisEnded { verdict: Verdict::Inconclusive(_), .. } => "Inconclusive",
            Self::AnalysisSuperseded { .. } => "AnalysisSuperseded",
            Self::RevertIntended { .. } => "RevertIntended",
            Self::RevertRetried { .. } => "RevertRetried",
            Self::RevertAbandoned { .. } => "RevertAbandoned",
            Self::RevertPlanned { .. } => "RevertPlanned",
            Self::RevertPushed { .. } => "RevertPushed",
            Self::SyncTerminated { .. } => "SyncTerminated",
            Self::RevertLive { .. } => "RevertLive",
            Self::Recovered { .. } => "Recovered",
            Self::HoldBegan { .. } => "HoldBegan",
            Self::Refrained { .. } => "Refrained",
            Self::HoldEnded { .. } => "HoldEnded",
        }
    }

    /// Whether a person should see it without looking for it.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::AnalysisEnded { verdict, .. } => *verdict != Verdict::Healthy,
            Self::RevertIntended { .. }
            | Self::RevertRetried { .. }
            | Self::RevertAbandoned { .. }
            | Self::RevertPlanned { .. }
            | Self::RevertPushed { .. }
            | Self::SyncTerminated { .. }
            | Self::Refrained { .. }
            | Self::HoldBegan { .. } => true,
            Self::LastGood { .. }
            | Self::AnalysisBegan { .. }
            | Self::AnalysisSuperseded { .. }
            | Self::RevertLive { .. }
            | Self::Recovered { .. }
            | Self::HoldEnded { .. } => false,
        }
    }
}

/// The one sentence.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LastGood { revisions, from } => {
                let how = match from {
                    LastGoodFrom::Analysis => "its analysis ended healthy",
                    LastGoodFrom::FirstSight => {
                        "at first sight it is Synced and Healthy, and its signals pass"
                    }
                    LastGoodFrom::Recovery => "the rollback to it helped",
                };
                write!(f, "{} is last good: {how}", revisions.short())
            }
            Self::AnalysisBegan { revisions, last_good } => {
                let good = last_good.as_ref().map_or_else(|| "not known".to_owned(), Revisions::short);
                write!(f, "analysing {}, last good is {good}", revisions.short())
            }
            Self::AnalysisEnded { revisions, verdict, took } => ended(f, revisions, verdict, *took),
            Self::AnalysisSuperseded { revisions, by } => {
                write!(f, "{} was not judged: {} is being synced", revisions.short(), by.short())
            }
            Self::RevertIntended { order, breaches, .. } => {
                let verb = match order.mode {
                    Delivery::Push => "reverting",
                    Delivery::DryRun => "would revert",
                };
                let signals = list(breaches.iter().map(|b| &b.signal), ", ");
                let bad = list(order.parts.iter().map(|part| part.bad.short()), "+");
                let good = list(order.parts.iter().map(|part| part.good.short()), "+");
                write!(f, "{verb} {bad} to {good} because of {signals}")
            }
            Self::RevertRetried { error, attempts } => {
                write!(f, "attempt {attempts} to push the revert failed: {error}")
            }
            Self::RevertAbandoned { because, .. } => write!(f, "nothing was pushed: {because}"),
            Self::RevertPlanned { record } => {
                let part = |p: &RevertedPart| format!("{} on `{}`", p.files.join(", "), p.branch);
                write!(f, "dry run: would change {}", list(record.parts.iter().map(part), " and "))
            }
            Self::RevertPushed { record, already: false, took, .. } => {
                let part = |p: &RevertedPart| {
                    format!("{} to `{}`, which reverts {}", p.revert.short(), p.branch, p.bad.short())
                };
                let pushed = list(record.parts.iter().map(part), ", and ");
                write!(f, "pushed {pushed}, {} ms after the verdict", took.as_millis())
            }
            Self::RevertPushed { record, already: true, .. } => {
                let part = |p: &RevertedPart| {
                    format!("{} on `{}` already reverts {}", p.revert.short(), p.branch, p.bad.short())
                };
                f.write_str(&list(record.parts.iter().map(part), ", and "))
            }
            Self::SyncTerminated { revisions } => {
                write!(
                    f,
                    "asked Argo CD to end the running sync of {}, which blocks the revert",
                    revisions.short()
                )
            }
            Self::RevertLive { live, how, took } => {
                let how = match how {
                    LiveBy::Operation => "synced",
                    LiveBy::Comparison => "equal to the cluster without a sync",
                };
                write!(f, "{} is live ({how}), {:.1} s after the push", live.short(), took.as_secs_f64())
            }
            Self::Recovered { live, timings: t } => write!(
                f,
                "recovered with {}: detected in {:.1} s, pushed in {:.1} s, live in {:.1} s, recovered in {:.1} s",
                live.short(),
                t.detected.as_secs_f64(),
                t.pushed.as_secs_f64(),
                t.live.as_secs_f64(),
                t.recovered.as_secs_f64()
            ),
            Self::HoldBegan { id, why } => write!(f, "on hold ({id}): {why}. {}", why.advice()),
            Self::Refrained { id } => write!(f, "nothing is reverted while on hold ({id})"),
            Self::HoldEnded { id, by } => {
                let by = match by {
                    HoldEndedBy::HealthyAnalysis => "a healthy analysis",
                    HoldEndedBy::Person => "a person",
                };
                write!(f, "hold {id} ended by {by}")
            }
        }
    }
}

fn ended(
    f: &mut fmt::Formatter<'_>,
    revisions: &Revisions,
    verdict: &Verdict,
    took: Duration,
) -> fmt::Result {
    let (revision, took) = (revisions.short(), human(took));
    match verdict {
        Verdict::Healthy => write!(f, "{revision} is healthy after {took}"),
        Verdict::Degraded(breaches) => {
            write!(f, "{revision} is degraded after {took}: {}", list(breaches.iter(), "; "))
        }
        Verdict::Inconclusive(gaps) => {
            write!(f, "{revision} is inconclusive after {took}: {}", gaps.join("; "))
        }
    }
}

/// Whatever it is, one after the other.
fn list<T: ToString>(things: impl Iterator<Item = T>, between: &str) -> String {
    things.map(|thing| thing.to_string()).collect::<Vec<_>>().join(between)
}
