//! Everything that may happen next, from a small world, so that the same things meet again.

use lastgood::engine::facts::{Gap, HealthStatus, OperationPhase, Reading, SyncStatus, TroubleKind};
use proptest::prelude::*;

/// One thing that happens, and how much time passes before it.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    /// Seconds; now and then a clock is set back.
    pub(crate) after: i64,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Application(Application),
    Rollout(Rollout),
    /// Answers the newest question, or the one before it, or one that nobody asked.
    Measured {
        question: usize,
        reading: Reading,
    },
    Reverted {
        asked: bool,
        outcome: Outcome,
    },
    /// What became of a withdrawal.
    Withdrawn {
        asked: bool,
        done: bool,
    },
    Related {
        asked: bool,
        known: bool,
        descends: bool,
        content: u8,
        same: bool,
    },
    /// Other applications are sick.
    Others(u32),
    Restart,
    Started,
    Tick,
}

#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) operation: Option<Operation>,
    pub(crate) requested: bool,
    pub(crate) sync: SyncStatus,
    pub(crate) compared: u8,
    pub(crate) health: HealthStatus,
    /// Seconds ago.
    pub(crate) reconciled: i64,
    pub(crate) history: Vec<u8>,
    pub(crate) spec: u8,
    pub(crate) several_sources: bool,
    pub(crate) resumes: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) phase: OperationPhase,
    /// Among the few revisions of the world; from 100 on the newest revert.
    pub(crate) revision: u8,
    /// Seconds ago.
    pub(crate) started: i64,
    pub(crate) finished: Option<i64>,
    pub(crate) retries: u32,
    pub(crate) dry_run: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Rollout {
    pub(crate) trouble: Option<(TroubleKind, i64, u32)>,
    pub(crate) gave_up: bool,
    pub(crate) complete: bool,
    pub(crate) gap: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Pushed,
    Already,
    Conflict,
    Refused,
    /// From then on it is proposed.
    Protected,
    Open,
    Closed,
    Failed,
    Shared,
    Newer,
    Partly,
}

fn any_revision() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 0_u8..5, 2 => Just(100_u8)]
}

/// Values that JSON keeps to the last bit: what is tested here is the engine, not a decimal parser.
pub(crate) fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        3 => Just(Reading::Value(0.01)),
        3 => Just(Reading::Value(0.3)),
        1 => (0_i32..2000).prop_map(|n| Reading::Value(f64::from(n) / 1000.0)),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Reading::Value),
        2 => any_gap().prop_map(Reading::Gap),
    ]
}

pub(crate) fn any_gap() -> impl Strategy<Value = Gap> {
    prop_oneof![
        Just(Gap::NoData),
        Just(Gap::TimedOut),
        "[ -~]{0,60}".prop_map(Gap::ServerError),
        "[ -~]{0,60}".prop_map(Gap::Unreachable),
        Just(Gap::NotANumber),
    ]
}

fn any_phase() -> impl Strategy<Value = OperationPhase> {
    prop_oneof![
        3 => Just(OperationPhase::Running),
        5 => Just(OperationPhase::Succeeded),
        1 => Just(OperationPhase::Failed),
        1 => Just(OperationPhase::Error),
        1 => Just(OperationPhase::Terminating),
    ]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let finished = prop_oneof![2 => (0_i64..100).prop_map(Some), 1 => Just(None)];
    (any_phase(), any_revision(), 0_i64..100, finished, 0_u32..3, prop::bool::weighted(0.05)).prop_map(
        |(phase, revision, started, finished, retries, dry_run)| Operation {
            phase,
            revision,
            started,
            finished,
            retries,
            dry_run,
        },
    )
}

fn any_application() -> impl Strategy<Value = Application> {
    let sync = prop_oneof![5 => Just(SyncStatus::Synced), 2 => Just(SyncStatus::OutOfSync), 1 => Just(SyncStatus::Unknown)];
    let health = prop_oneof![
        5 => Just(HealthStatus::Healthy),
        1 => Just(HealthStatus::Progressing),
        2 => Just(HealthStatus::Degraded),
        1 => Just(HealthStatus::Missing),
    ];
    (
        prop::option::weighted(0.8, any_operation()),
        prop::bool::weighted(0.1),
        sync,
        any_revision(),
        health,
        -2_i64..30,
        prop::collection::vec(any_revision(), 0..3),
        prop_oneof![9 => Just(0_u8), 1 => Just(1_u8)],
        prop::bool::weighted(0.03),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(
                operation,
                requested,
                sync,
                compared,
                health,
                reconciled,
                history,
                spec,
                several_sources,
                resumes,
            )| {
                Application {
                    operation,
                    requested,
                    sync,
                    compared,
                    health,
                    reconciled,
                    history,
                    spec,
                    several_sources,
                    resumes,
                }
            },
        )
}

fn any_rollout() -> impl Strategy<Value = Rollout> {
    let kind = prop_oneof![
        Just(TroubleKind::ImagePull),
        Just(TroubleKind::ContainerConfig),
        Just(TroubleKind::CrashLoop),
        Just(TroubleKind::OomKilled),
        Just(TroubleKind::Restarted),
        Just(TroubleKind::Unschedulable),
        Just(TroubleKind::Failed),
    ];
    (
        prop::option::weighted(0.4, (kind, 0_i64..60, 0_u32..5)),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(trouble, gave_up, complete, gap)| Rollout { trouble, gave_up, complete, gap })
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        12 => Just(Outcome::Pushed),
        2 => Just(Outcome::Already),
        1 => Just(Outcome::Conflict),
        1 => Just(Outcome::Refused),
        2 => Just(Outcome::Protected),
        3 => Just(Outcome::Open),
        1 => Just(Outcome::Closed),
        2 => Just(Outcome::Failed),
        1 => Just(Outcome::Shared),
        1 => Just(Outcome::Newer),
        1 => Just(Outcome::Partly),
    ]
}

pub(crate) fn any_move() -> impl Strategy<Value = Move> {
    let what = prop_oneof![
        8 => any_application().prop_map(What::Application),
        5 => any_rollout().prop_map(What::Rollout),
        8 => (0_usize..3, any_reading()).prop_map(|(question, reading)| What::Measured { question, reading }),
        5 => (prop::bool::weighted(0.9), any_outcome()).prop_map(|(asked, outcome)| What::Reverted { asked, outcome }),
        3 => (prop::bool::weighted(0.9), any::<bool>(), any::<bool>(), 0_u8..5, any::<bool>()).prop_map(
            |(asked, known, descends, content, same)| What::Related { asked, known, descends, content, same }
        ),
        1 => (prop::bool::weighted(0.9), any::<bool>()).prop_map(|(asked, done)| What::Withdrawn { asked, done }),
        1 => (0_u32..3).prop_map(What::Others),
        1 => Just(What::Restart),
        1 => Just(What::Started),
        6 => Just(What::Tick),
    ];
    let after = prop_oneof![3 => Just(0_i64), 8 => 1_i64..20, 2 => 20_i64..200, 1 => Just(-3_i64)];
    (after, what).prop_map(|(after, what)| Move { after, what })
}

/// The way to each phase, so that what comes after it is tried as often as what comes before.
pub(crate) fn prelude(length: usize) -> Vec<Move> {
    let application = Application {
        operation: None,
        requested: false,
        sync: SyncStatus::Synced,
        compared: 1,
        health: HealthStatus::Healthy,
        reconciled: 0,
        history: vec![1],
        spec: 0,
        several_sources: false,
        resumes: false,
    };
    let operation = |revision, phase, finished| {
        let started = 0;
        Some(Operation { phase, revision, started, finished, retries: 0, dry_run: false })
    };
    let syncing =
        Application { operation: operation(2, OperationPhase::Running, None), ..application.clone() };
    let undone =
        Application { operation: operation(100, OperationPhase::Succeeded, Some(0)), ..application.clone() };
    let whats = vec![
        What::Rollout(Rollout { trouble: None, gave_up: false, complete: true, gap: false }),
        What::Application(application),
        // Last good.
        What::Measured { question: 0, reading: Reading::Value(0.01) },
        What::Application(syncing),
        // Analysing, with the time before known.
        What::Measured { question: 1, reading: Reading::Value(0.01) },
        What::Measured { question: 0, reading: Reading::Value(0.3) },
        // Degraded, reverting.
        What::Measured { question: 0, reading: Reading::Value(0.3) },
        // Landing.
        What::Reverted { asked: true, outcome: Outcome::Pushed },
        // Recovering.
        What::Application(undone),
    ];
    let ticked = whats.into_iter().flat_map(|what| [what, What::Tick]);
    ticked.take(2 * length).map(|what| Move { after: 5, what }).collect()
}

pub(crate) fn any_history() -> impl Strategy<Value = Vec<Move>> {
    (0_usize..=12, prop::collection::vec(any_move(), 1..50))
        .prop_map(|(length, moves)| prelude(length).into_iter().chain(moves).collect())
}
