//! Workloads, pods and Argo CD's health as one signal.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Breach, Judgement, Outcome, Signal, health, human, sync::shorten};
use crate::engine::facts::{
    ApplicationFacts, Gap, HealthStatus, PodTrouble, RolloutFacts, TroubleKind, WorkloadFacts, WorkloadRef,
};
use crate::engine::policy::RolloutRules;

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
    /// revision can already be among the facts.
    pub fn of(application: &ApplicationFacts, facts: &RolloutFacts, until: Option<Timestamp>) -> Self {
        let before = |at: Timestamp| until.is_none_or(|until| at < until);
        let workloads = facts
            .workloads
            .iter()
            .filter(|w| {
                w.troubled.iter().any(|p| convictable(p.kind) && before(p.created_at))
                    || w.failed.as_ref().is_some_and(|f| f.since.is_none_or(before))
            })
            .map(|w| w.workload.clone())
            .collect();
        Self {
            workloads,
            degraded: application.health == HealthStatus::Degraded && health::trusted(application).is_ok(),
        }
    }

    /// Whether nothing was sick.
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty() && !self.degraded
    }
}

/// A failed pod alone says little: nodes evict, Jobs retry; its workload's own condition tells.
fn convictable(kind: TroubleKind) -> bool {
    kind != TroubleKind::Failed
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
}

/// Judges the rollout now; a failing answer comes with its breach.
pub fn judge(case: &Case<'_>, now: Timestamp) -> (Judgement, Option<Breach>) {
    let mut recheck_at: Option<Timestamp> = None;
    if let Some(facts) = case.rollout {
        for workload in &facts.workloads {
            match sickness(case, workload, now) {
                Sickness::None => {}
                Sickness::Later(at) => recheck_at = Some(recheck_at.map_or(at, |r| r.min(at))),
                Sickness::Now(why) => return convict(case, Some(&workload.workload), why),
            }
        }
    }
    if health::trusted(case.application) == Ok(HealthStatus::Degraded) {
        return convict(case, None, "Argo CD says Degraded".to_owned());
    }
    (Judgement { recheck_at, ..progress(case) }, None)
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
    {
        return Sickness::Now(format!(
            "{}: {} ({})",
            workload.workload,
            failed.reason,
            shorten(&failed.message)
        ));
    }
    let mut later: Option<Timestamp> = None;
    for pod in &workload.troubled {
        let Some(grace) = grace(case, pod) else { continue };
        let due = pod.created_at.max(case.began_at).saturating_add(grace).unwrap_or(Timestamp::MAX);
        if now >= due {
            return Sickness::Now(describe(workload, pod, grace));
        }
        later = Some(later.map_or(due, |l| l.min(due)));
    }
    later.map_or(Sickness::None, Sickness::Later)
}

/// How long this trouble may last before it convicts; none means that it never does.
fn grace(case: &Case<'_>, pod: &PodTrouble) -> Option<Duration> {
    let rules = case.rules;
    let new = pod.created_at >= case.began_at;
    match pod.kind {
        TroubleKind::ImagePull => Some(rules.image_pull_grace),
        TroubleKind::ContainerConfig => Some(rules.container_config_grace),
        TroubleKind::CrashLoop => Some(rules.crash_loop_grace),
        TroubleKind::Unschedulable => Some(rules.unschedulable_grace),
        // An older pod's restarts may all be older than the sync.
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
        if let Some(pod) = w.troubled.iter().find(|p| convictable(p.kind) && p.kind != TroubleKind::Restarted)
        {
            return open(format!("{}: pod {} {}", w.workload, pod.pod, pod.kind));
        }
    }
    Judgement::new(Outcome::Pass, "all workloads are complete and Argo CD says Healthy")
}

#[cfg(test)]
mod tests;
