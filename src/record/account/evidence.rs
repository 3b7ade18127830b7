//! What a decision rests on, as people read it.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Scene;
use crate::engine::action::SloQuery;
use crate::engine::analysis::{Analysis, Bad, Phase, Stage};
use crate::engine::decide;
use crate::engine::entry::{Entry, Kind};
use crate::engine::facts::{OperationPhase, Revisions};
use crate::engine::judge::{Breach, Signal, Verdict};
use crate::engine::time::{elapsed, seconds};

/// The evidence of a record; what is not known or has not happened yet is left out.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What is, or was, bad or judged: the revisions of all sources, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    bad: Option<Revisions>,
    /// What was last good before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    good: Option<Revisions>,
    /// The operation of Argo CD that brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sync: Option<Sync>,
    /// The operation that made the revert live.
    #[serde(skip_serializing_if = "Option::is_none")]
    revert_sync: Option<Sync>,
    /// What each signal said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    signals: Vec<Told>,
    /// How long each phase took.
    #[serde(skip_serializing_if = "Option::is_none")]
    phases: Option<Phases>,
}

/// A sync operation of Argo CD.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Sync {
    /// What was synced, one for each source.
    #[schemars(with = "Vec<String>")]
    revisions: Revisions,
    /// Argo CD's id of it in the Application's history; none while it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    history_id: Option<i64>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    finished_at: Option<Timestamp>,
    /// How it ended: `Succeeded`, `Failed`, `Error`; or that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    phase: Option<OperationPhase>,
    /// A user's name, or `automated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    initiated_by: Option<String>,
}

/// What one signal said.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// Which: `sync`, `rollout`, `person`, or an SLO by its name.
    #[schemars(with = "Value")]
    signal: Signal,
    /// Why it convicts; none where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    breach: Option<Breach>,
    /// Its queries as they were sent: one, or one for each window of a burn rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default, with = "Vec<Value>")]
    queries: Vec<SloQuery>,
    /// The rule and its limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Value>,
    /// Values before the sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    /// Values since the sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
    /// The series that convicted, and what was usual for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<Value>,
}

/// How long each phase took, in seconds.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Phases {
    /// From the start of the bad sync to the verdict.
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    detected: Duration,
    /// From the verdict to the revert on the branch.
    #[serde(with = "seconds::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<f64>")]
    pushed: Option<Duration>,
    /// From the branch to the cluster.
    #[serde(with = "seconds::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<f64>")]
    live: Option<Duration>,
    /// From the cluster to passing signals, or until that was given up.
    #[serde(with = "seconds::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<f64>")]
    settled: Option<Duration>,
}

/// What an entry rests on.
pub(super) fn of(entry: &Entry, scene: &Scene<'_>) -> Evidence {
    let good = scene.before.state.last_good.as_ref().map(|good| good.revisions.clone());
    match &entry.kind {
        Kind::AnalysisEnded { revisions, verdict, .. } => {
            let sync = sync(scene, revisions);
            let signals = match verdict {
                // What convicted, or did not suffice to, is worth its room.
                Verdict::Degraded(breaches) => signals(scene, breaches),
                Verdict::Inconclusive(_) => signals(scene, &[]),
                Verdict::Healthy => Vec::new(),
            };
            Evidence { bad: Some(revisions.clone()), good, sync, signals, ..Evidence::default() }
        }
        Kind::RevertIntended { breaches, .. } => {
            let bad = bad(scene);
            Evidence {
                sync: bad.and_then(|bad| sync(scene, &bad.revisions)),
                bad: bad.map(|bad| bad.revisions.clone()),
                good,
                signals: signals(scene, breaches),
                phases: phases(entry, scene),
                revert_sync: None,
            }
        }
        Kind::Suspended { revisions, breaches, .. } => {
            let (bad, sync) = (Some(revisions.clone()), sync(scene, revisions));
            Evidence { bad, good, sync, signals: signals(scene, breaches), ..Evidence::default() }
        }
        Kind::AnalysisSuperseded { revisions, .. } => {
            Evidence { sync: sync(scene, revisions), good, ..Evidence::default() }
        }
        Kind::RevertLive { live, .. } | Kind::Recovered { live, .. } => {
            Evidence { revert_sync: sync(scene, live), ..of_rollback(entry, scene) }
        }
        Kind::HoldBegan { .. } | Kind::Refrained { .. } => match bad(scene) {
            Some(_) => of_rollback(entry, scene),
            // A guard refused right after the verdict.
            None => Evidence { good, signals: signals(scene, &[]), ..Evidence::default() },
        },
        Kind::RevertWaits { .. }
        | Kind::PullRequestInstead { .. }
        | Kind::PullRequestOpened { .. }
        | Kind::PullRequestEnded { .. }
        | Kind::RevertAbandoned { .. }
        | Kind::RevertPlanned { .. }
        | Kind::RevertPushed { .. }
        | Kind::SyncTerminated { .. } => of_rollback(entry, scene),
        Kind::LastGood { .. }
        | Kind::AnalysisBegan { .. }
        | Kind::RevertRetried { .. }
        | Kind::HoldEnded { .. } => Evidence::default(),
    }
}

fn of_rollback(entry: &Entry, scene: &Scene<'_>) -> Evidence {
    let Some(bad) = bad(scene) else { return Evidence::default() };
    Evidence {
        bad: Some(bad.revisions.clone()),
        good: scene.before.state.last_good.as_ref().map(|good| good.revisions.clone()),
        sync: sync(scene, &bad.revisions),
        phases: phases(entry, scene),
        ..Evidence::default()
    }
}

/// What is rolled back, before or after the step.
fn bad<'a>(scene: &Scene<'a>) -> Option<&'a Bad> {
    [&scene.before.state.phase, &scene.after.state.phase].into_iter().find_map(|phase| match phase {
        Phase::Reverting(reverting) => Some(&reverting.bad),
        Phase::Confirming(confirming) => Some(&confirming.bad),
        Phase::New | Phase::Adopting(_) | Phase::Idle { .. } | Phase::Analysing(_) => None,
    })
}

/// The newest operation that synced to these revisions.
fn sync(scene: &Scene<'_>, revisions: &Revisions) -> Option<Sync> {
    let application = scene.application()?;
    let known = application.history.iter().rev().find(|entry| entry.revisions == *revisions);
    let operation =
        application.operation.as_ref().filter(|operation| operation.revisions.as_ref() == Some(revisions));
    let Some(operation) = operation else {
        return known.map(|entry| Sync {
            revisions: revisions.clone(),
            history_id: Some(entry.id),
            started_at: entry.started_at,
            finished_at: Some(entry.deployed_at),
            phase: Some(OperationPhase::Succeeded),
            initiated_by: entry.initiated_by.clone(),
        });
    };
    // An earlier sync to the same revisions is another one.
    let known = known.filter(|entry| entry.started_at.is_none_or(|at| at == operation.started_at));
    Some(Sync {
        revisions: revisions.clone(),
        history_id: known.map(|entry| entry.id),
        started_at: Some(operation.started_at),
        finished_at: operation.finished_at,
        phase: Some(operation.phase),
        initiated_by: Some(operation.initiated_by.clone()).filter(|by| !by.is_empty()),
    })
}

/// What each signal said when the verdict fell.
fn signals(scene: &Scene<'_>, breaches: &[Breach]) -> Vec<Told> {
    let told = |breach: &Breach| Told {
        signal: breach.signal.clone(),
        breach: Some(breach.clone()),
        queries: Vec::new(),
        rule: None,
        before: None,
        after: None,
        baseline: None,
    };
    let (mut all, policy): (Vec<Told>, _) = (breaches.iter().map(told).collect(), scene.context.policy);
    let informed = decide::informed(scene.key, scene.before.clone(), scene.event.clone(), &scene.context);
    let Phase::Analysing(analysis) = &informed.state.phase else { return all };
    let queries = decide::queries(scene.key, informed.clone(), &scene.context, &analysis.revisions);
    for slo in &policy.slos {
        let signal = Signal::Slo(slo.name.clone());
        let value = Told {
            queries: queries.iter().filter(|query| query.slo == slo.name).cloned().collect(),
            rule: serde_json::to_value(&slo.rule).ok(),
            before: values(analysis, true, &slo.name),
            after: values(analysis, false, &slo.name),
            baseline: bad(scene).and_then(|bad| serde_json::to_value(bad.broken.get(&slo.name)?).ok()),
            breach: breaches.iter().find(|breach| breach.signal == signal).cloned(),
            signal,
        };
        all.retain(|told| told.signal != value.signal);
        all.push(value);
    }
    all
}

/// The values of an SLO by series, each with its time in milliseconds since 1970.
fn values(analysis: &Analysis, before: bool, slo: &str) -> Option<Value> {
    let lines = if before { &analysis.before } else { &analysis.after };
    serde_json::to_value(lines.get(slo)?).ok()
}

fn phases(entry: &Entry, scene: &Scene<'_>) -> Option<Phases> {
    let bad = bad(scene)?;
    let confirming =
        [&scene.after.state.phase, &scene.before.state.phase].into_iter().find_map(|phase| match phase {
            Phase::Confirming(confirming) => Some(confirming),
            _ => None,
        });
    let live_at = confirming.and_then(|confirming| match &confirming.stage {
        Stage::Recovering(recovering) => Some(recovering.live_at),
        Stage::Landing { .. } => None,
    });
    let pushed_at = confirming.map(|confirming| confirming.pushed_at);
    Some(Phases {
        detected: elapsed(bad.synced_at, bad.degraded_at),
        pushed: pushed_at.map(|at| elapsed(bad.degraded_at, at)),
        live: live_at.zip(pushed_at).map(|(live, pushed)| elapsed(pushed, live)),
        settled: live_at.filter(|_| ends(&entry.kind)).map(|at| elapsed(at, entry.at)),
    })
}

/// Whether a rollback is over with this.
fn ends(kind: &Kind) -> bool {
    matches!(kind, Kind::Recovered { .. } | Kind::HoldBegan { .. })
}
