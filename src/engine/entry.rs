//! What was seen, decided and done, and why: one enum whose sentence is log line, Kubernetes Event and evidence alike.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{Delivery, RevertOrder, RevertRecord, RevertedPart, Touched};
use super::facts::{AppKey, Revision, Revisions};
use super::forge::{PullRequest, PullRequestState};
use super::judge::{Breach, Verdict};
use super::time::human;
pub use super::why::Why;
use super::why::list;

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
    /// Signals would convict, and guards say that the environment may be at fault, or are not known: nothing is done for now.
    Suspended {
        /// What is watched.
        revisions: Revisions,
        /// The guards that do not pass, a sentence each.
        guards: Vec<String>,
        /// What would convict.
        breaches: Vec<Breach>,
    },
    /// An analysis ended.
    AnalysisEnded {
        /// What was watched.
        revisions: Revisions,
        /// How it ended.
        verdict: Verdict,
        /// How long after the operation's start.
        #[serde(with = "super::time::seconds")]
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
    /// Nothing is pushed yet, since something else may make it needless or wrong.
    RevertWaits {
        /// The rollback.
        rollback: String,
        /// For what.
        what: WaitsFor,
    },
    /// A protected branch, or files that others share: a pull request takes the place of the push.
    PullRequestInstead {
        /// The rollback.
        rollback: String,
        /// Why.
        because: String,
    },
    /// A pull request was opened, or one that was there adopted.
    PullRequestOpened {
        /// The rollback.
        rollback: String,
        /// What it would do.
        record: RevertRecord,
        /// The pull requests, one for each repository.
        pull_requests: Vec<PullRequest>,
        /// What was asked of the forge and did not work.
        remarks: Vec<String>,
        /// How long after the verdict.
        #[serde(with = "super::time::seconds")]
        took: Duration,
    },
    /// A pull request was found to be merged, or was closed since it is needless.
    PullRequestEnded {
        /// The rollback.
        rollback: String,
        /// It.
        pull_request: PullRequest,
        /// Why it is needless.
        because: String,
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
        #[serde(with = "super::time::seconds")]
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
        #[serde(with = "super::time::seconds")]
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

/// What a revert waits for before it is pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum WaitsFor {
    /// The verdicts on other applications that are rendered from the same files.
    #[error("other applications are rendered from the same files: {}", list(of.iter(), ", "))]
    Verdicts {
        /// All of them, also those whose verdict is known.
        of: Vec<Touched>,
    },
    /// A newer commit that may be the fix.
    #[error("{} on `{branch}` changes the application's files too and may be the fix; it is judged once it is synced", revision.short())]
    Newer {
        /// The commit.
        revision: Revision,
        /// The branch.
        branch: String,
    },
    /// That its pull requests are merged.
    #[error("{} is to be merged", list(pull_requests.iter().map(|one| &one.url), ", "))]
    Merge {
        /// Them.
        pull_requests: Vec<PullRequest>,
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
    /// A person who rolls back says so.
    Person,
}

impl fmt::Display for LastGoodFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Analysis => "its analysis ended healthy",
            Self::FirstSight => "at first sight it is Synced and Healthy, and its signals pass",
            Self::Recovery => "the rollback to it helped",
            Self::Person => "a person says so",
        })
    }
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
    #[serde(with = "super::time::seconds")]
    pub detected: Duration,
    /// From the verdict to the revert on the branch.
    #[serde(with = "super::time::seconds")]
    pub pushed: Duration,
    /// From the branch to the cluster.
    #[serde(with = "super::time::seconds")]
    pub live: Duration,
    /// From the cluster to passing signals.
    #[serde(with = "super::time::seconds")]
    pub recovered: Duration,
}

impl Kind {
    /// A constant name for logs, Events and filters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::LastGood { .. } => "LastGood",
            Self::AnalysisBegan { .. } => "AnalysisBegan",
            Self::Suspended { .. } => "Suspended",
            Self::AnalysisEnded { verdict: Verdict::Healthy, .. } => "Healthy",
            Self::AnalysisEnded { verdict: Verdict::Degraded(_), .. } => "Degraded",
            Self::AnalysisEnded { verdict: Verdict::Inconclusive(_), .. } => "Inconclusive",
            Self::AnalysisSuperseded { .. } => "AnalysisSuperseded",
            Self::RevertIntended { .. } => "RevertIntended",
            Self::RevertRetried { .. } => "RevertRetried",
            Self::RevertWaits { .. } => "RevertWaits",
            Self::PullRequestInstead { .. } => "PullRequestInstead",
            Self::PullRequestOpened { .. } => "PullRequestOpened",
            Self::PullRequestEnded { .. } => "PullRequestEnded",
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
            Self::Suspended { .. }
            | Self::RevertIntended { .. }
            | Self::RevertRetried { .. }
            | Self::RevertWaits { .. }
            | Self::PullRequestInstead { .. }
            | Self::PullRequestOpened { .. }
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
            | Self::PullRequestEnded { .. }
            | Self::Recovered { .. }
            | Self::HoldEnded { .. } => false,
        }
    }
}

/// The one sentence.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LastGood { revisions, from } => write!(f, "{} is last good: {from}", revisions.short()),
            Self::AnalysisBegan { revisions, last_good } => {
                let good = last_good.as_ref().map_or_else(|| "not known".to_owned(), Revisions::short);
                write!(f, "analysing {}, last good is {good}", revisions.short())
            }
            Self::Suspended { revisions, guards, breaches } => suspended(f, revisions, guards, breaches),
            Self::AnalysisEnded { revisions, verdict, took } => ended(f, revisions, verdict, *took),
            Self::AnalysisSuperseded { revisions, by } => {
                write!(f, "{} was not judged: {} is being synced", revisions.short(), by.short())
            }
            Self::RevertIntended { order, breaches, .. } => {
                let verb = match order.mode {
                    Delivery::Push => "reverting",
                    Delivery::PullRequest { .. } => "proposing to revert",
                    Delivery::DryRun => "would revert",
                };
                let signals = list(breaches.iter().map(|b| &b.signal), ", ");
                let bad = list(order.parts.iter().map(|part| part.bad.short()), "+");
                let good = list(order.parts.iter().map(|part| part.good.short()), "+");
                write!(f, "{verb} {bad} to {good}")?;
                if let Some(definition) = order.definition() {
                    write!(f, " in the files of {}, which define it,", definition.parent)?;
                }
                write!(f, " because of {signals}")
            }
            Self::RevertRetried { error, attempts } => {
                write!(f, "attempt {attempts} to push the revert failed: {error}")
            }
            Self::RevertWaits { what, .. } => write!(f, "the revert waits: {what}"),
            Self::PullRequestInstead { because: why, .. } => write!(f, "no push but a pull request: {why}"),
            Self::PullRequestOpened { record, pull_requests, remarks, took, .. } => {
                opened(f, record, pull_requests, remarks, *took)
            }
            Self::PullRequestEnded { pull_request: PullRequest { url, state, .. }, because, .. } => {
                let closed = format!("is closed: {because}");
                let merged = matches!(state, PullRequestState::Merged { .. });
                write!(f, "{url} {}", if merged { "was merged" } else { &closed })
            }
            Self::RevertAbandoned { because, .. } => write!(f, "nothing was pushed: {because}"),
            Self::RevertPlanned { record } => {
                let part = |p: &RevertedPart| format!("{} on {}", p.files.join(", "), place(record, p));
                write!(f, "dry run: would change {}", list(record.parts.iter().map(part), " and "))
            }
            Self::RevertPushed { record, already: false, took, .. } => {
                let part = |p: &RevertedPart| {
                    let place = place(record, p);
                    format!("{} to {place}, which reverts {}", p.revert.short(), p.bad.short())
                };
                let pushed = list(record.parts.iter().map(part), ", and ");
                write!(f, "pushed {pushed}, {} ms after the verdict", took.as_millis())?;
                if record.touches.is_empty() {
                    return Ok(());
                }
                write!(f, "; it also touches {}", list(record.touches.iter(), ", "))
            }
            Self::RevertPushed { record, already: true, .. } => {
                let part = |p: &RevertedPart| {
                    let place = place(record, p);
                    format!("{} on {place} already reverts {}", p.revert.short(), p.bad.short())
                };
                f.write_str(&list(record.parts.iter().map(part), ", and "))
            }
            Self::SyncTerminated { revisions } => {
                write!(
                    f,
                    "asked Argo CD to end the running sync of {}, which blocks the next one",
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

/// The branch of a part, with its repository where there are several.
fn place(record: &RevertRecord, part: &RevertedPart) -> String {
    let (branch, repo_url) = (&part.branch, &part.repo_url);
    if record.parts.len() == 1 { format!("`{branch}`") } else { format!("`{branch}` of {repo_url}") }
}

fn opened(
    f: &mut fmt::Formatter<'_>,
    record: &RevertRecord,
    pull_requests: &[PullRequest],
    remarks: &[String],
    took: Duration,
) -> fmt::Result {
    let part = |p: &RevertedPart| format!("{} on `{}`", p.bad.short(), p.branch);
    let reverts = list(record.parts.iter().map(part), " and ");
    let urls = list(pull_requests.iter().map(|one| &one.url), " and ");
    write!(f, "{urls} would revert {reverts}, {} ms after the verdict", took.as_millis())?;
    for remark in remarks {
        write!(f, "; {remark}")?;
    }
    Ok(())
}

fn suspended(
    f: &mut fmt::Formatter<'_>,
    revisions: &Revisions,
    guards: &[String],
    breaches: &[Breach],
) -> fmt::Result {
    let (rev, guards, breaches) = (revisions.short(), guards.join("; "), list(breaches.iter(), "; "));
    write!(
        f,
        "{rev} is not convicted for now, since the environment may be at fault: {guards}; else it would be, since {breaches}"
    )
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
