//! Each trouble with its grace, before and after the sync; the sync began at second 100.

use super::*;
use crate::engine::facts::{OperationPhase, WorkloadFailure, WorkloadKind};
use crate::engine::fixture::{application, at, operation, policy};

/// A complete Deployment.
fn deployment() -> WorkloadFacts {
    WorkloadFacts {
        workload: WorkloadRef {
            kind: WorkloadKind::Deployment,
            namespace: "shop".into(),
            name: "shop".into(),
        },
        observed: true,
        desired: 2,
        updated: 2,
        available: 2,
        paused: false,
        failed: None,
        troubled: Vec::new(),
    }
}

fn trouble(kind: TroubleKind, created: i64, restarts: u32) -> PodTrouble {
    let message = if kind == TroubleKind::CrashLoop { "back-off 10s" } else { "words" };
    PodTrouble {
        pod: "shop-1".into(),
        created_at: at(created),
        container: Some("web".into()),
        kind,
        message: message.into(),
        restarts,
        ended_at: Some(at(created + 1)),
    }
}

fn failed(since: Option<i64>) -> WorkloadFailure {
    let (reason, message) = ("ProgressDeadlineExceeded".into(), "timed out".into());
    WorkloadFailure { reason, message, since: since.map(at) }
}

/// What was seen before the sync.
#[derive(Clone, Copy)]
enum Before {
    Nobody,
    Well,
    Sick,
    Degraded,
}

struct Row {
    workload: WorkloadFacts,
    application: ApplicationFacts,
    gap: Option<Gap>,
    before: Before,
    calm_since: Option<Timestamp>,
}

impl Row {
    /// A complete rollout, after a sync that ended at second 105 and a comparison at second 106.
    fn well() -> Self {
        let mut application = application();
        application.operation = Some(operation(OperationPhase::Succeeded, Some(105)));
        application.reconciled_at = Some(at(106));
        Self { workload: deployment(), application, gap: None, before: Before::Well, calm_since: None }
    }

    fn with(kind: TroubleKind, created: i64, restarts: u32) -> Self {
        let mut row = Self::well();
        row.workload.troubled.push(trouble(kind, created, restarts));
        row
    }

    fn before(self, before: Before) -> Self {
        Self { before, ..self }
    }

    fn health(mut self, health: HealthStatus) -> Self {
        self.application.health = health;
        self
    }

    fn judge(&self, now: i64) -> (Judgement, Option<Breach>) {
        let facts =
            RolloutFacts { at: at(now), workloads: vec![self.workload.clone()], gap: self.gap.clone() };
        let before = match self.before {
            Before::Nobody => None,
            Before::Well => Some(SickBefore::default()),
            Before::Sick => {
                Some(SickBefore { workloads: vec![self.workload.workload.clone()], degraded: false })
            }
            Before::Degraded => Some(SickBefore { workloads: Vec::new(), degraded: true }),
        };
        let case = Case {
            rules: &policy().rollout,
            application: &self.application,
            rollout: Some(&facts),
            began_at: at(100),
            before: before.as_ref(),
            degraded_since: (self.application.health == HealthStatus::Degraded).then(|| at(106)),
            calm_since: self.calm_since,
        };
        judge(&case, at(now))
    }

    #[track_caller]
    fn check(&self, now: i64, expected: &str) {
        let (judgement, breach) = self.judge(now);
        let again = judgement.recheck_at.map(|at| format!(", again at {}", at.as_second()));
        let said = format!("{:?}: {}{}", judgement.outcome, judgement.why, again.unwrap_or_default());
        assert_eq!(said, expected);
        assert_eq!(breach.is_some(), judgement.outcome == Outcome::Fail);
        assert!(breach.is_none_or(|b| b.failing >= b.needed && b.passing_before > 0));
    }
}

#[test]
fn a_complete_rollout_passes() {
    Row::well().check(110, "Pass: all workloads are complete and Argo CD says Healthy");
}

#[test]
fn what_was_before_the_environment_was_well_again_convicts_nobody() {
    let pod = "Deployment shop/shop: pod shop-1";
    let calm = |row: Row| Row { calm_since: Some(at(200)), ..row };
    // Grace times begin anew.
    let row = calm(Row::with(TroubleKind::CrashLoop, 101, 4));
    row.check(205, &format!("Inconclusive: {pod} CrashLoopBackOff, again at 210"));
    row.check(210, &format!("Fail: {pod} container web CrashLoopBackOff for longer than 10s, 4 restarts"));
    // What was counted before does not count.
    for kind in [TroubleKind::OomKilled, TroubleKind::Restarted] {
        let ended = |second| {
            let mut row = calm(Row::with(kind, 101, 4));
            row.workload.troubled[0].ended_at = Some(at(second));
            row.judge(210).1.is_some()
        };
        assert!(!ended(190) && ended(205), "{kind:?}");
    }
    let gave_up = |since| {
        let mut row = calm(Row::well());
        row.workload.failed = Some(failed(since));
        row.judge(210).1.is_some()
    };
    assert!(!gave_up(Some(190)) && gave_up(Some(205)) && !gave_up(None));
    let degraded = calm(Row::well().health(HealthStatus::Degraded));
    assert!(degraded.judge(203).1.is_none() && degraded.judge(204).1.is_some());
}

#[test]
fn each_trouble_convicts_when_its_grace_ends() {
    let new = |kind| Row::with(kind, 101, 0);
    let pod = "Deployment shop/shop: pod shop-1";
    let row = new(TroubleKind::CrashLoop);
    row.check(110, &format!("Inconclusive: {pod} CrashLoopBackOff, again at 111"));
    row.check(111, &format!("Fail: {pod} container web CrashLoopBackOff for longer than 10s"));
    let row = new(TroubleKind::ImagePull);
    row.check(120, &format!("Inconclusive: {pod} ImagePullBackOff, again at 121"));
    row.check(121, &format!("Fail: {pod} container web ImagePullBackOff for longer than 20s: words"));
    let row = new(TroubleKind::ContainerConfig);
    row.check(130, &format!("Inconclusive: {pod} CreateContainerConfigError, again at 131"));
    row.check(
        131,
        &format!("Fail: {pod} container web CreateContainerConfigError for longer than 30s: words"),
    );
    let row = new(TroubleKind::Unschedulable);
    row.check(140, &format!("Inconclusive: {pod} Unschedulable, again at 141"));
    row.check(141, &format!("Fail: {pod} container web Unschedulable for longer than 40s: words"));
}

#[test]
fn an_older_pods_grace_begins_with_the_sync() {
    let row = Row::with(TroubleKind::CrashLoop, 20, 7);
    row.check(109, "Inconclusive: Deployment shop/shop: pod shop-1 CrashLoopBackOff, again at 110");
    row.check(
        110,
        "Fail: Deployment shop/shop: pod shop-1 container web CrashLoopBackOff for longer than 10s, 7 restarts",
    );
}

#[test]
fn kills_and_restarts_of_new_pods_convict_at_once() {
    let fails = |row: &Row| row.judge(102).0.outcome == Outcome::Fail;
    assert!(fails(&Row::with(TroubleKind::OomKilled, 101, 1)));
    assert!(
        !fails(&Row::with(TroubleKind::OomKilled, 99, 9)),
        "an older pod's kill may be older than the sync"
    );
    assert!(fails(&Row::with(TroubleKind::Restarted, 101, 3)));
    assert!(!fails(&Row::with(TroubleKind::Restarted, 101, 2)));
    assert!(!fails(&Row::with(TroubleKind::Restarted, 99, 9)), "as may its restarts");
    Row::with(TroubleKind::Restarted, 101, 2)
        .check(102, "Pass: all workloads are complete and Argo CD says Healthy");
}

#[test]
fn a_failed_pod_alone_says_nothing() {
    Row::with(TroubleKind::Failed, 101, 0)
        .check(999, "Pass: all workloads are complete and Argo CD says Healthy");
}

#[test]
fn a_controller_that_gave_up_since_the_sync_convicts() {
    let mut row = Row::well();
    for since in [Some(100), None] {
        row.workload.failed = Some(failed(since));
        row.check(101, "Fail: Deployment shop/shop: ProgressDeadlineExceeded (timed out)");
    }
    row.workload.failed = Some(failed(Some(99)));
    row.check(101, "Pass: all workloads are complete and Argo CD says Healthy");
}

#[test]
fn what_was_sick_before_or_not_seen_before_cannot_convict() {
    let sick = || Row::with(TroubleKind::CrashLoop, 101, 0);
    let why = "Deployment shop/shop: pod shop-1 container web CrashLoopBackOff for longer than 10s";
    sick().before(Before::Sick).check(111, &format!("Inconclusive: {why}, as before the sync"));
    sick()
        .before(Before::Nobody)
        .check(111, &format!("Inconclusive: {why}, but nobody saw the time before the sync"));
    // Argo CD's health is another thing than a workload.
    sick().before(Before::Degraded).check(111, &format!("Fail: {why}"));
}

#[test]
fn argo_cds_degraded_convicts_when_it_is_new_and_of_this_revision() {
    let degraded = || Row::well().health(HealthStatus::Degraded);
    degraded().check(109, "Inconclusive: Argo CD says Degraded, again at 110");
    degraded().check(110, "Fail: Argo CD says Degraded for longer than 4s");
    degraded()
        .before(Before::Degraded)
        .check(110, "Inconclusive: Argo CD says Degraded for longer than 4s, as before the sync");
    let mut stale = degraded();
    stale.application.reconciled_at = Some(at(104));
    stale.check(110, "Inconclusive: Argo CD's health is older than the sync");
}

#[test]
fn one_sick_workload_hides_no_other_and_a_blind_watch_convicts_nobody() {
    let row = Row::with(TroubleKind::CrashLoop, 101, 0);
    let mut other = row.workload.clone();
    other.workload.name = "web".into();
    let facts = |gap| RolloutFacts { at: at(111), workloads: vec![row.workload.clone(), other.clone()], gap };
    let before = SickBefore { workloads: vec![row.workload.workload.clone()], degraded: false };
    let judged = |facts: &RolloutFacts| {
        let case = Case {
            rules: &policy().rollout,
            application: &row.application,
            rollout: Some(facts),
            began_at: at(100),
            before: Some(&before),
            degraded_since: None,
            calm_since: None,
        };
        judge(&case, at(111)).0.outcome
    };
    assert_eq!(judged(&facts(None)), Outcome::Fail);
    assert_eq!(judged(&facts(Some(Gap::NotWatching("pods".into())))), Outcome::Inconclusive);
}

#[test]
fn what_is_not_complete_or_not_seen_is_open() {
    let open = |change: fn(&mut Row), why: &str| {
        let mut row = Row::well();
        change(&mut row);
        row.check(110, &format!("Inconclusive: {why}"));
    };
    open(|row| row.workload.updated = 1, "Deployment shop/shop: 1 updated and 2 available of 2");
    open(|row| row.workload.available = 0, "Deployment shop/shop: 2 updated and 0 available of 2");
    open(
        |row| row.workload.observed = false,
        "Deployment shop/shop: its controller has not seen the new specification",
    );
    open(|row| row.gap = Some(Gap::NotWatching("pods".into())), "not watching pods");
    open(|row| row.application.health = HealthStatus::Progressing, "Argo CD says Progressing");
    open(|row| row.application.health = HealthStatus::Suspended, "Argo CD says Suspended");
    let mut other_cluster = Row::well();
    other_cluster.gap = Some(Gap::OtherCluster);
    other_cluster.check(110, "Pass: all workloads are complete and Argo CD says Healthy");
}

#[test]
fn what_was_sick_before_is_read_from_what_is_older_than_the_sync() {
    let of = |row: &Row| {
        let facts = RolloutFacts { at: at(101), workloads: vec![row.workload.clone()], gap: None };
        let rules = policy().rollout;
        let before = SickBefore::of(&row.application, &facts, &rules, Some(at(100)), Some(false)).unwrap();
        (before.workloads.len(), before.degraded)
    };
    assert_eq!(of(&Row::well()), (0, false));
    assert_eq!(of(&Row::with(TroubleKind::CrashLoop, 99, 0)), (1, false));
    // A pod of the new revision that was seen before its sync was.
    assert_eq!(of(&Row::with(TroubleKind::CrashLoop, 100, 0)), (0, false));
    assert_eq!(of(&Row::with(TroubleKind::Failed, 99, 0)), (0, false));
    // One restart is none, and what was long ago neither.
    assert_eq!(of(&Row::with(TroubleKind::Restarted, 90, 1)), (0, false));
    assert_eq!(of(&Row::with(TroubleKind::Restarted, 90, 3)), (1, false));
    assert_eq!(of(&Row::with(TroubleKind::OomKilled, 90, 1)), (1, false));
    assert_eq!(of(&Row::with(TroubleKind::OomKilled, -9000, 1)), (0, false));
    let mut gave_up = Row::well();
    gave_up.workload.failed = Some(failed(Some(50)));
    assert_eq!(of(&gave_up), (1, false));
    gave_up.workload.failed = Some(failed(Some(100)));
    assert_eq!(of(&gave_up), (0, false));
    assert_eq!(of(&Row::well().health(HealthStatus::Degraded)), (0, true));
}
