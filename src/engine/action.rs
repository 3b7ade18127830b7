//! Everything that lastgood can ask of the world. Each action carries what it expects to find and is safe to repeat.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::{AppKey, Origin, Rendering, Revision};
use super::forge::{ProposedPart, WithdrawOrder};
use super::policy::{Part, RevertRules, Series};
pub use super::refusal::Refusal;

/// One thing to do for one application.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send SLO queries; answered by [`Event::Measured`](super::event::Event::Measured).
    Measure(MeasureOrder),
    /// Plan and push the revert; answered by [`Event::Reverted`](super::event::Event::Reverted).
    Revert(Box<RevertOrder>),
    /// Find out how two revisions are related; answered by [`Event::Related`](super::event::Event::Related).
    Relate(RelateOrder),
    /// Close pull requests that are needless; answered by [`Event::Withdrawn`](super::event::Event::Withdrawn).
    Withdraw(Box<WithdrawOrder>),
    /// Ask Argo CD to compare an application with Git now.
    Refresh {
        /// Which one: this one, or the one that defines it.
        app: AppKey,
    },
    /// End the running sync operation if it is still the one that started at this time.
    Terminate {
        /// `status.operationState.startedAt` of the operation that is meant.
        started_at: Timestamp,
    },
}

/// SLO queries to send.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureOrder {
    /// Which question this is; comes back with the answer, so that a late answer is told from the one awaited.
    pub round: Round,
    /// The times to evaluate at, an answer for each.
    pub when: When,
    /// The queries, as they are sent.
    pub queries: Vec<SloQuery>,
}

/// The times that queries are evaluated at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once, now.
    Now,
    /// At `from`, and each `step` later up to `to`.
    Range {
        /// The first time.
        from: Timestamp,
        /// The time that none is after.
        to: Timestamp,
        /// How far they lie apart; at least a millisecond.
        step: Duration,
    },
}

impl When {
    /// The times one by one, oldest first.
    pub fn times(self, now: Timestamp) -> Vec<Timestamp> {
        let Self::Range { from, to, step } = self else { return vec![now] };
        let step = step.max(Duration::from_millis(1));
        let next = |at: &Timestamp| at.checked_add(step).ok();
        std::iter::successors(Some(from), next).take_while(|at| *at <= to).collect()
    }
}

/// Identifies a round of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// When the analysis (or the watch over a recovery) that asks began.
    pub began_at: Timestamp,
    /// Counted from 1 within it; 0 is the look at the time before the sync.
    pub number: u32,
}

/// One SLO query as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SloQuery {
    /// The SLO's name in the policy.
    pub slo: String,
    /// What of it is asked for.
    #[serde(default, skip_serializing_if = "Part::is_value")]
    pub part: Part,
    /// What several series in the answer mean.
    pub series: Series,
    /// The `PromQL`, placeholders filled in.
    pub promql: String,
}

/// A revert to plan and push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevertOrder {
    /// Names the rollback; the same for the same application and bad revision, whoever asks and however often.
    pub rollback: String,
    /// Whose footprint.
    pub app: AppKey,
    /// The daemon's cluster name.
    pub cluster: String,
    /// The `AppProject` of whoever is rendered from the repositories, for Argo CD's choice of credentials.
    pub project: String,
    /// Where the change is undone, one commit in each; never empty. All of them are planned before one is pushed.
    pub parts: Vec<RevertPart>,
    /// Why, one sentence for each breach: goes into the commit messages.
    pub evidence: Vec<String>,
    /// Content (see [`RevertedPart::quarantine`]) that was rolled back before: if bad holds it, refuse.
    pub quarantine: Vec<String>,
    /// What the policy allows.
    pub rules: RevertRules,
    /// How far to go.
    pub mode: Delivery,
    /// Only look whether it is done already.
    pub only_look: bool,
    /// The hash of the ledger's record of the intent, for the commit message; the order is part of that record, so it is
    /// put in when the order is carried out, and not kept.
    #[serde(skip)]
    pub record: Option<String>,
}

impl RevertOrder {
    /// Whether anything is to be pushed.
    pub fn pushes(&self) -> bool {
        self.mode != Delivery::DryRun && !self.only_look
    }

    /// What is undone where the application is defined, if its specification is what changed.
    pub fn definition(&self) -> Option<&Definition> {
        self.parts.iter().find_map(|part| part.definition.as_ref())
    }
}

/// How far a revert goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// To the branch.
    Push,
    /// To a side branch, and from there by a pull request.
    PullRequest {
        /// Whether the pull request is known to be as it shall be: then it is only looked at.
        complete: bool,
    },
    /// Plan only.
    DryRun,
}

/// One repository and branch in which the change is undone, with one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevertPart {
    /// The repository, as the Application writes it.
    pub repo_url: String,
    /// What the Application follows: a branch or `HEAD`.
    pub target_revision: String,
    /// Which of the application's sources come from here, counted from 0; none where its definition does.
    pub sources: Vec<usize>,
    /// How those are rendered, or the application that defines this one: what that takes at bad or at good is the
    /// footprint, of a definition only the files that hold it.
    pub renderings: Vec<Rendering>,
    /// Whose definition is undone, if it was the application's specification that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
    /// The application's own sources in this repository, where its definition is undone: they must not have changed too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<Unchanged>,
    /// Where bad and good are, if a hydrator writes what is synced: the commits that they were rendered from are meant.
    pub hydrated: Option<Hydrated>,
    /// A commit after bad that is known to run as bad does: it is no fix.
    pub no_fix: Option<Revision>,
    /// Other applications that are rendered from this repository, as they are when the order is carried out; not kept.
    #[serde(skip)]
    pub others: Vec<Other>,
    /// The revision that made the application sick.
    pub bad: Revision,
    /// The last good revision.
    pub good: Revision,
}

/// What defines an application, in the files of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// What is defined: the application itself, or the `ApplicationSet` that it is of.
    pub object: Origin,
    /// The application whose files define it; good and bad are its revisions.
    pub parent: AppKey,
}

/// A source that moved from one commit to another, and whose files must be the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unchanged {
    /// How it is rendered.
    pub rendering: Rendering,
    /// The older commit.
    pub good: Revision,
    /// The newer one.
    pub bad: Revision,
}

/// A branch that a hydrator writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hydrated {
    /// The branch.
    pub target_revision: String,
    /// The application's folder on it.
    pub path: String,
}

/// Another application that is rendered from a repository in which something is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Which.
    pub app: AppKey,
    /// How its sources in that repository are rendered.
    pub renderings: Vec<Rendering>,
    /// What it was synced to in that repository.
    pub revision: Option<Revision>,
    /// What defines it, where the same application does as the one whose definition is undone.
    pub defined: Option<Origin>,
    /// How it does.
    pub standing: Standing,
}

/// Another application that is rendered from files that a revert changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Touched {
    /// Which.
    pub app: AppKey,
    /// How it does.
    pub standing: Standing,
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.standing {
            Standing::Sick => "degraded too",
            Standing::Undecided => "not judged yet",
            Standing::Well => "not degraded",
        };
        write!(f, "{} ({how})", self.app)
    }
}

/// How another application does, as far as a revert of files that it shares is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It is degraded too.
    Sick,
    /// It is being judged, or has not been synced to the change yet.
    Undecided,
    /// It is well, or nobody looks after it.
    Well,
}

/// A question about two revisions of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelateOrder {
    /// The repository, as the Application writes it.
    pub repo_url: String,
    /// The `AppProject`.
    pub project: String,
    /// The branch or `HEAD`.
    pub target_revision: String,
    /// How what is asked about is rendered: the content of its footprint is wanted.
    pub renderings: Vec<Rendering>,
    /// Where the newer one is, if a hydrator writes what is synced: the commit that it was rendered from is meant.
    pub hydrated: Option<Hydrated>,
    /// The older one, for example our revert.
    pub ancestor: Revision,
    /// The newer one, for example what is live now.
    pub descendant: Revision,
}

/// How two revisions are related.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relation {
    /// The older one that was asked about.
    pub ancestor: Revision,
    /// The newer one that was asked about.
    pub descendant: Revision,
    /// Whether `descendant` is `ancestor` or comes after it.
    pub descends: bool,
    /// The content of the footprint at `descendant`.
    pub content: String,
    /// Whether the footprint is the same in both.
    pub same_content: bool,
}

/// What became of a [`RevertOrder`]. A refused push is an outcome; an error means that it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RevertOutcome {
    /// The revert is on the branch; we put it there now.
    Pushed(RevertRecord),
    /// The revert was on the branch already: ours from before, another cluster's, or a person's.
    AlreadyReverted(RevertRecord),
    /// A dry run: this would have been pushed.
    Planned(RevertRecord),
    /// It waits to be merged.
    Proposed(Box<Proposed>),
    /// It was only looked for, and is not there.
    NotThere,
    /// Commits after bad changed the same lines.
    Conflict {
        /// The files in conflict.
        files: Vec<String>,
    },
    /// Other applications are rendered from files that it would change, and the policy does not allow that.
    Shared {
        /// All of them.
        with: Vec<Touched>,
    },
    /// A newer commit changes the application's files too, is not synced yet and may be the fix.
    Newer {
        /// The newest such commit.
        revision: Revision,
        /// The branch.
        branch: String,
    },
    /// One of several repositories has the revert, and another one cannot have it.
    Partly {
        /// What was undone.
        done: Vec<RevertedPart>,
        /// The repositories where it was not.
        missing: Vec<String>,
        /// Why it was not.
        reason: String,
    },
    /// It must not or cannot be done; asking again changes nothing.
    Refused(Refusal),
    /// It is not known or not done yet; ask again later, which looks first.
    Failed {
        /// What failed, on which thing, why.
        error: String,
    },
}

/// The evidence of a revert: all of its parts are there, or none is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevertRecord {
    /// What was undone in each repository and branch; never empty.
    pub parts: Vec<RevertedPart>,
    /// Other applications that are rendered from files that it changes.
    pub touches: Vec<Touched>,
}

/// A revert that waits to be merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposed {
    /// What it does; its commits are those of the side branches.
    pub record: RevertRecord,
    /// The pull requests, one for each repository that does not have it yet.
    pub parts: Vec<ProposedPart>,
    /// What was asked of the forge and did not work; none of it keeps it from being merged.
    pub remarks: Vec<String>,
}

/// What was undone in one repository and branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevertedPart {
    /// The repository, without credentials.
    pub repo_url: String,
    /// The branch.
    pub branch: String,
    /// Which of the application's sources come from here, counted from 0; none where its definition does.
    pub sources: Vec<usize>,
    /// Whose definition was undone, if it was the application's specification that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
    /// What was bad.
    pub bad: Revision,
    /// The revert commit; for a dry run the commit that it would have been put on.
    pub revert: Revision,
    /// The commits that were undone, newest first.
    pub culprits: Vec<Culprit>,
    /// The files that it changes.
    pub files: Vec<String>,
    /// The content of the footprint at bad: what is quarantined.
    pub quarantine: String,
    /// What the footprint does not hold, or holds only by guess.
    pub notes: Vec<String>,
    /// How often it was planned: more than once when somebody else pushed first.
    pub attempts: u32,
}

impl RevertRecord {
    /// The revert commits.
    pub fn reverts(&self) -> impl Iterator<Item = &Revision> {
        self.parts.iter().map(|part| &part.revert)
    }
}

/// A commit of the culprit range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Culprit {
    /// Its id.
    pub revision: Revision,
    /// Its author, `Name <address>`.
    pub author: String,
    /// Its author's time.
    pub authored_at: Timestamp,
    /// Who put it on the branch, `Name <address>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committer: Option<String>,
    /// The committer's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// The first line of its message.
    pub subject: String,
}
