//! Workloads, pods and Argo CD's health as one signal.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Breach, Judgement, Outcome, Signal, health, sync::shorten};
use crate::engine::facts::{
    ApplicationFacts, Gap, HealthStatus, PodTrouble, RolloutFacts, TroubleKind, WorkloadFacts, WorkloadRef,
};
use crate::engine::policy::RolloutRules;
use crate::engine::time::{elapsed, human, later};

/// What was sick before a sync, and so cannot convict it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SickBefore {
    /// Workloads with a troubled pod or a failed condition.
    pub workloads: Vec<WorkloadRef>,
    /// Whether Argo CD said Degraded.
    pub degraded: bool,
}

impl SickBefore {
    /// What is sick in these facts; only pods created before `until` count, when it is given.
    ///
    /// The workloads' watch may be ahead of the Application's, so at the beginning of an analysis pods of the new
    /// revision can already be among the facts. While an operation runs, Argo CD's health cannot be trusted, and what was
    /// known of it before (`degraded`) stays; none means that nobody knows, and then nothing is known.
    pub fn of(
        application: &ApplicationFacts,
        facts: &RolloutFacts,
        rules: &RolloutRules,
        until: Option<Timestamp>,
        degraded: Option<bool>,
    ) -> Option<Self> {
        let before = |at: Timestamp| until.is_none_or(|until| at < until);
        let workloads = facts
            .workloads
            .iter()
            .filter(|w| {
                w.troubled.iter().any(|p| counts_as_sick(p, rules, facts.at) && before(p.created_at))
                    || w.failed.as_ref().is_some_and(|f| f.since.is_none_or(before))
            })
            .map(|w| w.workload.clone())
            .collect();
        let degraded = match health::trusted(application) {
            Ok(health) => health == HealthStatus::Degraded,
            Err(_) => degraded?,
        };
        Some(Self { workloads, degraded })
    }

    /// Whether nothing was sick.
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty() && !self.degraded
    }
}

/// How long ago a container may have ended to say something about now.
const RECENT: Duration = Duration::from_secs(10 * 60);

/// Whether this trouble makes a workload sick.
///
/// One restart some time ago does not, and a failed pod alone says little: nodes evict, Jobs retry, and the workload's
/// own condition tells.
fn counts_as_sick(pod: &PodTrouble, rules: &RolloutRules, now: Timestamp) -> bool {
    let recent = pod.ended_at.is_some_and(|at| elapsed(at, now) < RECENT);
    match pod.kind {
        TroubleKind::Failed => false,
        TroubleKind::OomKilled => recent,
        TroubleKind::Restarted => recent && pod.restarts >= rules.restarts,
        TroubleKind::ImagePull
        | TroubleKind::ContainerConfig
        | TroubleKind::CrashLoop
        | TroubleKind::Unschedulable => true,
    }
}

/// What the rollout is judged by.
pub struct Case<'a> {
    /// The policy's rules.
    pub rules: &'a RolloutRules,
    /// The Application.
    pub application: &'a ApplicationFacts,
    /// Its workloads; none while they have not been seen.
    pub rollout: Option<&'a RolloutFacts>,
    /// When the operation started.
    pub began_at: Timestamp,
    /// What was sick before it; none when nobody looked.
    pub before: Option<&'a SickBefore>,
    /// Since when Argo CD calls the application Degraded without a break, as far as it was seen.
    pub degraded_since: Option<Timestamp>,
    /// Since when the environment is well again, if it was not at some time since the operation started: what was before
    /// convicts nobody, and grace times begin anew.
    pub calm_since: Option<Timestamp>,
}

/// Judges the rollout now; a failing answer comes with its breach.
pub fn judge(case: &Case<'_>, now: Timestamp) -> (Judgement, Option<Breach>) {
    let mut recheck_at: Option<Timestamp> = None;
    let mut open: Option<Judgement> = None;
    let mut note = |sickness: Sickness, workload: Option<&WorkloadRef>| match sickness {
        Sickness::None => None,
        Sickness::Later(at) => {
            recheck_at = Some(recheck_at.map_or(at, |r| r.min(at)));
            None
        }
        Sickness::Now(why) => match convict(case, workload, why) {
            (judgement, Some(breach)) => Some((judgement, Some(breach))),
            // Something else may convict all the same.
            (judgement, None) => {
                open.get_or_insert(judgement);
                None
            }
        },
    };
    // Facts that are known to be out of date convict nobody.
    let facts = case.rollout.filter(|facts| !matches!(facts.gap, Some(Gap::NotWatching(_))));
    for workload in facts.iter().flat_map(|facts| &facts.workloads) {
        if let Some(convicted) = note(sickness(case, workload, now), Some(&workload.workload)) {
            return convicted;
        }
    }
    if let Some(convicted) = note(degraded(case, now), None) {
        return convicted;
    }
    let judgement = open.unwrap_or_else(|| progress(case));
    (Judgement { recheck_at, ..judgement }, None)
}

/// Argo CD's own opinion. It is Degraded for moments in ordinary rollouts too (an HPA without metrics yet).
fn degraded(case: &Case<'_>, now: Timestamp) -> Sickness {
    let Some(since) = case.degraded_since else { return Sickness::None };
    let since = case.calm_since.map_or(since, |calm| since.max(calm));
    if health::trusted(case.application) != Ok(HealthStatus::Degraded) {
        return Sickness::None;
    }
    let grace = case.rules.degraded_grace;
    let due = later(since, grace);
    if now < due {
        return Sickness::Later(due);
    }
    Sickness::Now(format!("Argo CD says Degraded for longer than {}", human(grace)))
}

enum Sickness {
    None,
    Later(Timestamp),
    Now(String),
}

/// A failing answer, unless the same thing failed before the sync or nobody knows.
fn convict(case: &Case<'_>, workload: Option<&WorkloadRef>, why: String) -> (Judgement, Option<Breach>) {
    let already = case.before.map(|before| match workload {
        Some(workload) => before.workloads.contains(workload),
        None => before.degraded,
    });
    match already {
        None => (
            Judgement::new(Outcome::Inconclusive, format!("{why}, but nobody saw the time before the sync")),
            None,
        ),
        Some(true) => (Judgement::new(Outcome::Inconclusive, format!("{why}, as before the sync")), None),
        Some(false) => {
            let breach = Breach {
                signal: Signal::Rollout,
                why: why.clone(),
                failing: 1,
                needed: 1,
                passing_before: 1,
            };
            (Judgement::new(Outcome::Fail, why), Some(breach))
        }
    }
}

fn sickness(case: &Case<'_>, workload: &WorkloadFacts, now: Timestamp) -> Sickness {
    if let Some(failed) = &workload.failed
        && failed.since.is_none_or(|since| since >= case.began_at)
        && case.calm_since.is_none_or(|calm| failed.since.is_some_and(|since| since >= calm))
    {
        return Sickness::Now(format!(
            "{}: {} ({})",
            workload.workload,
            failed.reason,
            shorten(&failed.message)
        ));
    }
    let mut soonest: Option<Timestamp> = None;
    for pod in &workload.troubled {
        let Some(grace) = grace(case, pod) else { continue };
        let from = pod.created_at.max(case.began_at);
        let due = later(case.calm_since.map_or(from, |calm| from.max(calm)), grace);
        if now >= due {
            return Sickness::Now(describe(workload, pod, grace));
        }
        soonest = Some(soonest.map_or(due, |s| s.min(due)));
    }
    soonest.map_or(Sickness::None, Sickness::Later)
}

/// How long this trouble may last before it convicts; none means that it never does.
fn grace(case: &Case<'_>, pod: &PodTrouble) -> Option<Duration> {
    let rules = case.rules;
    let calm = case.calm_since.is_none_or(|calm| pod.ended_at.is_some_and(|ended| ended >= calm));
    let new = pod.created_at >= case.began_at && calm;
    match pod.kind {
        TroubleKind::ImagePull => Some(rules.image_pull_grace),
        TroubleKind::ContainerConfig => Some(rules.container_config_grace),
        TroubleKind::CrashLoop => Some(rules.crash_loop_grace),
        TroubleKind::Unschedulable => Some(rules.unschedulable_grace),
        // An older pod's restarts may all be older than the sync, or be the environment's.
        TroubleKind::OomKilled if rules.oom_kill && new => Some(Duration::ZERO),
        TroubleKind::OomKilled | TroubleKind::Restarted => {
            (new && pod.restarts >= rules.restarts).then_some(Duration::ZERO)
        }
        TroubleKind::Failed => None,
    }
}

fn describe(workload: &WorkloadFacts, pod: &PodTrouble, grace: Duration) -> String {
    let container = pod.container.as_ref().map(|c| format!(" container {c}")).unwrap_or_default();
    let restarts = if pod.restarts > 0 { format!(", {} restarts", pod.restarts) } else { String::new() };
    let longer = if grace.is_zero() { String::new() } else { format!(" for longer than {}", human(grace)) };
    let telling = !pod.message.is_empty() && pod.kind != TroubleKind::CrashLoop;
    let message = if telling { format!(": {}", shorten(&pod.message)) } else { String::new() };
    format!("{}: pod {}{container} {}{longer}{restarts}{message}", workload.workload, pod.pod, pod.kind)
}

/// How far a rollout without sickness is.
fn progress(case: &Case<'_>) -> Judgement {
    let open = |why: String| Judgement::new(Outcome::Inconclusive, why);
    match health::trusted(case.application) {
        Err(gap) => return open(gap.to_string()),
        Ok(HealthStatus::Healthy) => {}
        Ok(health) => return open(format!("Argo CD says {health:?}")),
    }
    let Some(facts) = case.rollout else {
        return open("the workloads have not been seen yet".to_owned());
    };
    if let Some(gap) = &facts.gap
        // Argo CD reads the other cluster, and its health was believed above.
        && *gap != Gap::OtherCluster
    {
        return open(gap.to_string());
    }
    for w in &facts.workloads {
        if !w.observed {
            return open(format!("{}: its controller has not seen the new specification", w.workload));
        }
        if w.updated < w.desired || w.available < w.desired {
            let (updated, available, desired) = (w.updated, w.available, w.desired);
            return open(format!("{}: {updated} updated and {available} available of {desired}", w.workload));
        }
        let hinders =
            |p: &&PodTrouble| p.kind != TroubleKind::Restarted && counts_as_sick(p, case.rules, facts.at);
        if let Some(pod) = w.troubled.iter().find(hinders) {
            return open(format!("{}: pod {} {}", w.workload, pod.pod, pod.kind));
        }
    }
    Judgement::new(Outcome::Pass, "all workloads are complete and Argo CD says Healthy")
}

#[cfg(test)]
mod tests;
