//! How much of the time of a decision is deciding, and of a revert, reading: ratios of two things measured in the same
//! run, so that they mean something on any machine.
//!
//! `cargo bench` prints them; nothing fails by being slow.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::panic,
    reason = "a benchmark prints, and rounds"
)]

use lastgood::engine::forge::{ForgeRules, ProposalRules};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use git2::{Oid, Repository, Signature};
use jiff::{SignedDuration, Timestamp};
use lastgood::act::git::Footprint;
use lastgood::act::git::never::Never;
use lastgood::act::git::plan::{Found, OnConflict, Request, plan};
use lastgood::engine::action::Action;
use lastgood::engine::analysis::{App, AppState};
use lastgood::engine::decide::{Context, step};
use lastgood::engine::event::{Event, SloAnswer};
use lastgood::engine::facts::{
    AppKey, ApplicationFacts, HealthStatus, HistoryEntry, Operation, OperationPhase, Reading, Rendering,
    Revision, RolloutFacts, Source, SourceKind, SyncStatus, WorkloadFacts, WorkloadKind, WorkloadRef,
};
use lastgood::engine::policy::{
    GitRules, Mode, Objective, Part, Policy, Prometheus, RevertRules, RollbackRules, RolloutRules, Rule, Slo,
    Strikes,
};
use lastgood::engine::template::Template;

/// Files of the repository; ten for each application.
const FILES: u32 = 20_000;

fn main() {
    deciding();
    planning();
}

/// The median of several runs.
fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut took: Vec<_> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}

fn print(what: &str, ours: (&str, Duration), theirs: (&str, Duration)) {
    println!("{what}");
    for (name, took) in [ours, theirs] {
        println!("  {name:<46} {:>12.1} us", took.as_secs_f64() * 1e6);
    }
    println!("  ratio {:.2}\n", ours.1.as_secs_f64() / theirs.1.as_secs_f64());
}

/// A good deploy with one SLO: every event of an analysis of ten minutes, and the same states written as JSON.
fn deciding() {
    let (steps, states) = deploy();
    let events = steps.len();
    let good = states.last().and_then(|state| state.last_good.as_ref());
    assert!(
        good.is_some_and(|good| good.revisions.to_string().starts_with('b')),
        "the deploy became last good"
    );
    let stepping = median(200, || drop(black_box(deploy())));
    let writing = median(200, || {
        for state in &states {
            black_box(serde_json::to_string(state).unwrap());
        }
    });
    print(
        &format!("deciding: a deploy of {events} events"),
        ("the engine's steps (with the world around them)", stepping),
        ("writing the same states as JSON", writing),
    );
    let a_second = events as f64 / stepping.as_secs_f64();
    println!("  {a_second:.0} steps a second\n");
}

/// Plays the deploy; what each step did, and each state.
fn deploy() -> (Vec<usize>, Vec<AppState>) {
    let key = AppKey::new("argocd", "shop");
    let policy = policy();
    let start = Timestamp::from_second(1_750_000_000).unwrap();
    let (mut app, mut now) = (App::default(), start);
    let (mut steps, mut states) = (Vec::new(), Vec::new());
    let mut events = vec![Event::Rollout(rollout(now)), application(&key, start, None)];
    let operation = |phase, finished| Some((phase, start + SignedDuration::from_secs(120), finished));
    let mut news = vec![
        (120, application(&key, start, operation(OperationPhase::Running, None))),
        (130, application(&key, start, operation(OperationPhase::Succeeded, Some(130)))),
    ]
    .into_iter()
    .peekable();
    loop {
        for event in std::mem::take(&mut events) {
            let context =
                Context { policy: &policy, cluster: "bench", now, others_degraded: 0, parent: None };
            let step = step(&key, app, event, &context);
            steps.push(step.entries.len());
            app = step.app;
            states.push(app.state.clone());
            for action in step.actions {
                let Action::Measure(order) = action else { continue };
                let times = order.when.times(now);
                let value = |at: &Timestamp| SloAnswer {
                    slo: "errors".into(),
                    part: Part::Value,
                    series: BTreeMap::new(),
                    at: *at,
                    reading: Reading::Value(0.01),
                };
                let answers = times.iter().map(value).collect();
                events.push(Event::Measured { round: order.round, answers });
            }
        }
        if !events.is_empty() {
            continue;
        }
        let wake = app.state.wake_at(&policy);
        let next = news.peek().map(|(second, _)| start + SignedDuration::from_secs(*second));
        match (wake, next) {
            (Some(wake), Some(next)) if wake < next => (now, events) = (wake, vec![Event::Tick]),
            (_, Some(next)) => {
                (now, events) = (next, news.next().map(|(_, event)| event).into_iter().collect());
            }
            (Some(wake), None) => (now, events) = (wake, vec![Event::Tick]),
            (None, None) => return (steps, states),
        }
    }
}

fn policy() -> Policy {
    let seconds = Duration::from_secs;
    Policy {
        name: "shop".into(),
        text: String::new(),
        mode: Mode::Push,
        duration: seconds(600),
        interval: seconds(15),
        rollout: RolloutRules {
            image_pull_grace: seconds(60),
            crash_loop_grace: seconds(30),
            container_config_grace: seconds(60),
            unschedulable_grace: seconds(300),
            degraded_grace: Duration::from_secs(60),
            restarts: 3,
            oom_kill: true,
        },
        sync_failed_attempts: 2,
        guards: Vec::new(),
        slos: vec![Slo::new(
            "errors",
            Template::parse("errors{app=\"{{ application }}\"}").unwrap(),
            Rule::Threshold { objective: Objective::Max(0.05), strikes: Strikes { failures: 3, of: 5 } },
        )],
        warm_up: Duration::ZERO,
        baseline: seconds(600),
        false_rollback_rate: 0.001,
        variables: BTreeMap::new(),
        prometheus: Some(Prometheus::new("http://prometheus", seconds(5))),
        rollback: RollbackRules {
            push_timeout: seconds(300),
            live_timeout: seconds(600),
            recovery_timeout: seconds(600),
            terminate_stuck_sync: true,
            reverts_per_day: 3,
            others_degraded: 3,
            revert: RevertRules::default(),
            proposals: ProposalRules::default(),
        },
        git: GitRules {
            secret: None,
            forge: ForgeRules::default(),
            author_name: "lastgood".into(),
            author_email: "lastgood@bench".into(),
            signing_secret: None,
        },
    }
}

type Sync = (OperationPhase, Timestamp, Option<i64>);

fn application(key: &AppKey, start: Timestamp, sync: Option<Sync>) -> Event {
    let (first, second) = (Revision::new("a".repeat(40)), Revision::new("b".repeat(40)));
    let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
    Event::Application(Box::new(ApplicationFacts {
        app: key.clone(),
        uid: "uid".into(),
        project: "default".into(),
        labels: BTreeMap::new(),
        sources: vec![Source {
            repo_url: "https://git.example.com/shop.git".into(),
            target_revision: "main".into(),
            kind: SourceKind::git(Rendering::plain("shop")),
        }],
        spec_digest: "spec".into(),
        hydrated: false,
        destination_cluster: String::new(),
        destination_namespace: "shop".into(),
        in_cluster: true,
        auto_sync: true,
        operation_requested: false,
        operation: sync.map(|(phase, started_at, finished)| Operation {
            phase,
            revisions: Some(second.clone().into()),
            started_at,
            finished_at: finished.map(at),
            retry_count: 0,
            dry_run: false,
            partial: false,
            resource_failed: false,
            spec_digest: "spec".into(),
            message: String::new(),
            initiated_by: "automated".into(),
        }),
        sync: SyncStatus::Synced,
        compared: Some(first.clone().into()),
        health: HealthStatus::Healthy,
        reconciled_at: Some(at(131)),
        history: vec![HistoryEntry {
            id: 0,
            revisions: first.into(),
            started_at: None,
            deployed_at: start,
            initiated_by: None,
            spec_digest: "spec".into(),
        }],
        workloads: Vec::new(),
        dry: None,
        parent: None,
        children: Vec::new(),
        resume: None,
    }))
}

fn rollout(at: Timestamp) -> RolloutFacts {
    let workload = WorkloadFacts {
        workload: WorkloadRef {
            kind: WorkloadKind::Deployment,
            namespace: "shop".into(),
            name: "shop".into(),
        },
        observed: true,
        desired: 3,
        updated: 3,
        available: 3,
        paused: false,
        failed: None,
        troubled: Vec::new(),
    };
    RolloutFacts { at, workloads: vec![workload], gap: None }
}

/// One file of one application among 20,000, reverted under a newer commit elsewhere.
fn planning() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let [good, bad, tip] = repository(dir.path());
    println!("planning: made a repository of {FILES} files in {:.1} s", began.elapsed().as_secs_f64());
    let footprint = Footprint::new(&["apps/app-0100"]).unwrap();
    let never = Never::default();
    // Each time as after a start: a repository that nobody has read yet.
    let ours = || {
        let repo = Repository::open_bare(dir.path()).unwrap();
        let request = Request {
            good,
            bad,
            tip,
            branch: "main",
            footprint: &footprint,
            at_bad: &footprint,
            rollback: None,
            on_conflict: OnConflict::Hold,
            never: &never,
        };
        match plan(&repo, &request) {
            Ok(Found::Plan(plan)) => plan.tree,
            other => panic!("no plan: {other:?}"),
        }
    };
    let theirs = || {
        let repo = Repository::open_bare(dir.path()).unwrap();
        let (bad, tip) = (repo.find_commit(bad).unwrap(), repo.find_commit(tip).unwrap());
        let mut index = repo.revert_commit(&bad, &tip, 0, None).unwrap();
        index.write_tree_to(&repo).unwrap()
    };
    assert_eq!(ours(), theirs(), "both undo the same");
    let by_path = median(20, || {
        black_box(ours());
    });
    let whole = median(20, || {
        black_box(theirs());
    });
    print(
        "planning: a revert in that repository",
        ("path by path", by_path),
        ("libgit2's revert_commit over the whole tree", whole),
    );
}

/// Commits good, bad and tip, in one pack.
fn repository(dir: &std::path::Path) -> [Oid; 3] {
    let repo = Repository::init_bare(dir).unwrap();
    let odb = repo.odb().unwrap();
    let pack = odb.add_new_mempack_backend(1000).unwrap();
    let app = |number: u32, change: &str| {
        let mut tree = repo.treebuilder(None).unwrap();
        for file in 0..10 {
            let changed = if file == 3 { change } else { "" };
            let text = format!("kind: ConfigMap\nname: app-{number}\nfile: {file}\n{changed}");
            tree.insert(format!("{file}.yaml"), repo.blob(text.as_bytes()).unwrap(), 0o100_644).unwrap();
        }
        tree.write().unwrap()
    };
    let mut apps = repo.treebuilder(None).unwrap();
    for number in 0..FILES / 10 {
        apps.insert(format!("app-{number:04}"), app(number, ""), 0o040_000).unwrap();
    }
    let mut parent: Option<Oid> = None;
    let mut commit = |apps: Oid, message: &str| {
        let mut root = repo.treebuilder(None).unwrap();
        root.insert("apps", apps, 0o040_000).unwrap();
        let tree = repo.find_tree(root.write().unwrap()).unwrap();
        let author = Signature::new("Bob", "bob@example.com", &git2::Time::new(1_750_000_000, 0)).unwrap();
        let parents: Vec<_> = parent.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
        let parents: Vec<_> = parents.iter().collect();
        let id = repo.commit(None, &author, &author, message, &tree, &parents).unwrap();
        parent = Some(id);
        id
    };
    let good = commit(apps.write().unwrap(), "good");
    apps.insert("app-0100", app(100, "replicas: 0\n"), 0o040_000).unwrap();
    let bad = commit(apps.write().unwrap(), "bad");
    apps.insert("app-0200", app(200, "replicas: 3\n"), 0o040_000).unwrap();
    let tip = commit(apps.write().unwrap(), "elsewhere");
    let mut bytes = git2::Buf::new();
    pack.dump(&repo, &mut bytes).unwrap();
    let mut writer = odb.packwriter().unwrap();
    std::io::Write::write_all(&mut writer, &bytes).unwrap();
    writer.commit().unwrap();
    [good, bad, tip]
}
