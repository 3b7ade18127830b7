//! The states of one application, what each state knows, and when it wants to be woken.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{Relation, RevertOrder, RevertRecord, Round, Standing};
use super::entry::{LastGoodFrom, WaitsFor, Why};
use super::facts::{ApplicationFacts, Operation, Revision, Revisions, RolloutFacts, Tracked};
use super::forge::ProposedPart;
use super::judge::Breach;
use super::judge::rollout::SickBefore;
use super::judge::slo::{Broken, Past};
use super::judge::sync::Attempts;
use super::samples::Lines;
use super::time::later;

/// Everything that is kept for one application: what lasts (`state`) and what the watches bring again (`seen`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct App {
    /// Saved before anything is done because of it.
    pub state: AppState,
    /// The newest facts; empty after a start until the watches are up.
    pub seen: Seen,
}

/// The newest facts about an application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The Application.
    pub application: Option<Box<ApplicationFacts>>,
    /// Its workloads.
    pub rollout: Option<RolloutFacts>,
    /// The time before the analysis as statistics need it, by SLO: long, and easily asked for again.
    pub past: BTreeMap<String, Past>,
}

/// What lasts over a restart. Bounded: the lists have limits, and lines hold what a policy's rules look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppState {
    /// What is going on.
    pub phase: Phase,
    /// The newest revision whose analysis ended healthy.
    pub last_good: Option<LastGood>,
    /// Why the daemon does not act, when it does not.
    pub hold: Option<Hold>,
    /// What was rolled back, oldest first, at most [`PAST_REVERTS_MAX`].
    pub reverts: Vec<PastRevert>,
    /// What is sick while no analysis runs: the "before" of the next one. None while nobody looked.
    pub sick: Option<Sick>,
    /// The newest operation that was dealt with.
    pub operation: Option<OperationId>,
    /// Whether the newest operation that ended had failed.
    pub sync_failed: bool,
    /// What was proposed and may still be open, oldest first, at most [`PROPOSALS_MAX`].
    #[serde(default)]
    pub proposals: Vec<Proposal>,
}

/// Tells one operation from another; Argo CD's times have a resolution of one second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationId {
    /// When it started.
    pub started_at: Timestamp,
    /// What it syncs to.
    pub revisions: Revisions,
    /// The source specification that it applies; empty while that is not known.
    pub spec_digest: String,
}

/// Rollbacks remembered for one application: bounds the state object; a loop shows long before.
pub const PAST_REVERTS_MAX: usize = 20;

/// Proposals remembered for one application: bounds the state object; more than one is rare.
pub const PROPOSALS_MAX: usize = 5;

/// A revert that was proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Names the rollback.
    pub rollback: String,
    /// The `AppProject`, for Argo CD's choice of credentials.
    pub project: String,
    /// What was proposed in each repository.
    pub parts: Vec<ProposedPart>,
    /// When it was first known to be open.
    pub at: Timestamp,
    /// Why it is needless, once it is.
    pub needless: Option<Needless>,
}

/// A proposal is to be withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Needless {
    /// Why, for a comment.
    pub why: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When to try again, unless an answer comes.
    pub retry_at: Timestamp,
}

impl OperationId {
    /// The id of this operation, which syncs to these revisions.
    pub fn of(operation: &Operation, revisions: &Revisions) -> Self {
        let spec_digest = operation.spec_digest.clone();
        Self { started_at: operation.started_at, revisions: revisions.clone(), spec_digest }
    }
}

/// What is going on with an application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Phase {
    /// Never seen.
    #[default]
    New,
    /// Seen for the first time: what runs may become last good once its signals pass.
    Adopting(Adopting),
    /// The newest operation has been dealt with.
    Idle {
        /// What it synced to.
        current: Revisions,
    },
    /// A sync is being watched.
    Analysing(Box<Analysis>),
    /// The revert is being planned and pushed.
    Reverting(Box<Reverting>),
    /// The revert is on the branch; is it live, and did it help?
    Confirming(Box<Confirming>),
}

impl Phase {
    /// One word for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Adopting(_) => "Adopting",
            Self::Idle { .. } => "Watching",
            Self::Analysing(_) => "Analysing",
            Self::Reverting(r) if r.waits_for_merge() => "Proposed",
            Self::Reverting(_) => "Reverting",
            Self::Confirming(_) => "Confirming",
        }
    }

    /// The revisions that the application is at or goes to.
    pub fn current(&self) -> Option<&Revisions> {
        match self {
            Self::New => None,
            Self::Adopting(a) => Some(&a.revisions),
            Self::Idle { current } => Some(current),
            Self::Analysing(a) => Some(&a.revisions),
            Self::Reverting(r) => Some(&r.bad.revisions),
            Self::Confirming(c) => match &c.stage {
                Stage::Landing { .. } => Some(&c.bad.revisions),
                Stage::Recovering(r) => Some(&r.live),
            },
        }
    }
}

/// A last good revision and how it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastGood {
    /// The revisions.
    pub revisions: Revisions,
    /// The source specification that they were rendered with.
    pub spec_digest: String,
    /// The specification that a hydrator rendered them with, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_digest: Option<String>,
    /// What its sources followed; nothing where that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracked: Vec<Tracked>,
    /// When its sync began; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_at: Option<Timestamp>,
    /// Since when it is known.
    pub at: Timestamp,
    /// How it is known.
    pub from: LastGoodFrom,
}

/// The daemon does not act for this application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Names the hold: the value of the annotation with which a person ends it.
    pub id: String,
    /// Why.
    pub why: Why,
    /// Since when.
    pub since: Timestamp,
}

/// A rollback that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastRevert {
    /// What was rolled back in each repository.
    pub parts: Vec<PastPart>,
    /// When it was pushed.
    pub at: Timestamp,
}

/// What was rolled back in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastPart {
    /// What was rolled back.
    pub bad: Revision,
    /// The commit that did it.
    pub revert: Revision,
    /// The content that is quarantined.
    pub quarantine: String,
}

/// What is sick while no analysis runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sick {
    /// What.
    pub what: SickBefore,
    /// When this was first seen.
    pub since: Timestamp,
}

/// The first look at an application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopting {
    /// What Argo CD's history says is running.
    pub revisions: Revisions,
    /// When the look began.
    pub began_at: Timestamp,
    /// Rounds of measurements sent.
    pub round: u32,
    /// When the next one is due.
    pub next_round_at: Timestamp,
    /// SLOs that passed in the newest round.
    pub passed: Vec<String>,
}

/// The watch over one application at one revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// What was synced.
    pub revisions: Revisions,
    /// The source specification that it was synced with.
    pub spec_digest: String,
    /// When the operation started.
    pub began_at: Timestamp,
    /// When lastgood saw it; later than `began_at` after a restart.
    pub seen_at: Timestamp,
    /// The start of the first sync since the last judged one: the time before it is what measurements are compared
    /// with, so that a revision that came on top of an unjudged bad one doesn't make the bad one's failures "old".
    pub baseline_at: Timestamp,
    /// What was sick then; none when nobody looked.
    pub sick_before: Option<SickBefore>,
    /// Whether the sync before had failed.
    pub sync_failed_before: bool,
    /// What became of the operation's attempts.
    pub attempts: Attempts,
    /// Since when Argo CD calls the application Degraded without a break.
    pub degraded_since: Option<Timestamp>,
    /// Measurements of the time before, by SLO.
    pub before: BTreeMap<String, Lines>,
    /// Measurements since, by SLO.
    pub after: BTreeMap<String, Lines>,
    /// Rounds of measurements sent.
    pub round: u32,
    /// When the next one is due.
    pub next_round_at: Timestamp,
    /// When a grace time ends, if one runs.
    pub recheck_at: Option<Timestamp>,
    /// Whether guards were said to stand between what the signals show and a verdict.
    #[serde(default)]
    pub suspended: bool,
}

/// A degraded revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bad {
    /// What is bad.
    pub revisions: Revisions,
    /// The source specification that it was synced with.
    pub spec_digest: String,
    /// When its operation started: the change is live.
    pub synced_at: Timestamp,
    /// When the verdict fell.
    pub degraded_at: Timestamp,
    /// Why.
    pub breaches: Vec<Breach>,
    /// The series that convicted, by SLO: these must pass again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<String, Vec<Broken>>,
}

/// A revert on its way to the branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reverting {
    /// What is bad.
    pub bad: Bad,
    /// What is asked for.
    pub order: RevertOrder,
    /// How often it was asked for.
    pub attempts: u32,
    /// Since when, without a restart in between.
    pub since: Timestamp,
    /// When to ask again, unless an answer comes.
    pub retry_at: Timestamp,
    /// What it waits for before it may be pushed.
    pub waiting: Option<Waiting>,
}

impl Reverting {
    /// Whether it waits for a newer commit.
    pub fn waits_for_newer(&self) -> bool {
        matches!(&self.waiting, Some(Waiting { what: WaitsFor::Newer { .. }, .. }))
    }

    /// Whether it waits for people or the forge to merge it.
    pub fn waits_for_merge(&self) -> bool {
        matches!(&self.waiting, Some(Waiting { what: WaitsFor::Merge { .. }, .. }))
    }
}

/// A revert waits for something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// For what.
    pub what: WaitsFor,
    /// Since when, without a restart in between.
    pub since: Timestamp,
}

/// A revert that is on the branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirming {
    /// What was bad.
    pub bad: Bad,
    /// What was asked for.
    pub order: RevertOrder,
    /// What was pushed.
    pub record: RevertRecord,
    /// When it was known to be on the branch.
    pub pushed_at: Timestamp,
    /// How far it is.
    pub stage: Stage,
}

/// How far a confirmation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Stage {
    /// Argo CD has not made it live yet.
    Landing {
        /// Since when it is waited for, without a restart in between.
        since: Timestamp,
        /// When to ask for a refresh again.
        next_refresh_at: Timestamp,
        /// What was asked for: how what is live is related to what is waited for.
        asked: Vec<Pair>,
        /// What is known of that.
        known: Vec<Relation>,
    },
    /// It is live; do the signals pass again?
    Recovering(Recovering),
}

/// Two revisions whose relation is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The older one.
    pub ancestor: Revision,
    /// The newer one.
    pub descendant: Revision,
}

/// The watch over a recovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovering {
    /// What is live: the revert or a descendant.
    pub live: Revisions,
    /// Since when.
    pub live_at: Timestamp,
    /// Since when it is watched, without a long break in between.
    pub since: Timestamp,
    /// Measurements since, by SLO.
    pub after: BTreeMap<String, Lines>,
    /// Rounds of measurements sent.
    pub round: u32,
    /// When the next one is due.
    pub next_round_at: Timestamp,
}

impl AppState {
    /// When the application wants an [`Event::Tick`](super::event::Event::Tick) though nothing happens.
    ///
    /// None means that it waits for an event: between syncs there is no work.
    pub fn wake_at(&self, policy: &super::policy::Policy) -> Option<Timestamp> {
        let needless = self.proposals.iter().filter_map(|one| one.needless.as_ref()).map(|n| n.retry_at);
        self.phase_wakes_at(policy).into_iter().chain(needless).min()
    }

    fn phase_wakes_at(&self, policy: &super::policy::Policy) -> Option<Timestamp> {
        match &self.phase {
            Phase::New | Phase::Idle { .. } => None,
            Phase::Adopting(a) => Some(a.next_round_at),
            Phase::Analysing(a) => Some(a.recheck_at.map_or(a.next_round_at, |r| r.min(a.next_round_at))),
            Phase::Reverting(r) => Some(r.retry_at),
            Phase::Confirming(c) => Some(match &c.stage {
                Stage::Landing { since, next_refresh_at, .. } => {
                    (*next_refresh_at).min(live_deadline(*since, policy))
                }
                Stage::Recovering(r) => r.next_round_at.min(r.deadline(policy)),
            }),
        }
    }

    /// Since when this application is sick of its own, as far as other applications' verdicts care.
    pub fn sick_since(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Reverting(r) => Some(r.bad.degraded_at),
            Phase::Confirming(c) => Some(c.bad.degraded_at),
            Phase::New | Phase::Adopting(_) | Phase::Idle { .. } | Phase::Analysing(_) => {
                let held = self.hold.as_ref().filter(|h| h.why.is_sickness()).map(|h| h.since);
                let sick = self.sick.as_ref().filter(|s| !s.what.is_empty()).map(|s| s.since);
                held.into_iter().chain(sick).min()
            }
        }
    }
}

impl AppState {
    /// How this application does, as far as another one's revert of files that both are rendered from is concerned.
    pub fn standing(&self) -> Standing {
        match &self.phase {
            Phase::Reverting(_) | Phase::Confirming(_) => Standing::Sick,
            Phase::New | Phase::Adopting(_) | Phase::Analysing(_) => Standing::Undecided,
            // Each hold follows a degraded verdict, and a healthy one ends it.
            Phase::Idle { .. } if self.hold.is_some() || self.sick_since().is_some() => Standing::Sick,
            Phase::Idle { .. } => Standing::Well,
        }
    }
}

impl Confirming {
    /// The revisions of all sources with the revert in place of what was bad; those of bad where no source was undone.
    pub fn reverted(&self) -> Revisions {
        let reverted = |(i, bad): (usize, &Revision)| {
            let part = self.record.parts.iter().find(|part| part.sources.contains(&i));
            part.map_or(bad, |part| &part.revert).clone()
        };
        let revisions = self.bad.revisions.iter().enumerate().map(reverted).collect();
        Revisions::new(revisions).unwrap_or_else(|| self.bad.revisions.clone())
    }
}

impl Analysis {
    /// Names a round of this analysis.
    pub fn round(&self, number: u32) -> Round {
        Round { began_at: self.seen_at, number }
    }
}

/// When to give up waiting for a revert to be live.
pub fn live_deadline(since: Timestamp, policy: &super::policy::Policy) -> Timestamp {
    later(since, policy.rollback.live_timeout)
}

impl Recovering {
    /// When to give up waiting for the signals to pass again.
    pub fn deadline(&self, policy: &super::policy::Policy) -> Timestamp {
        later(self.since, policy.rollback.recovery_timeout)
    }

    /// Names a round of this watch.
    pub fn round(&self, number: u32) -> Round {
        Round { began_at: self.since, number }
    }
}
