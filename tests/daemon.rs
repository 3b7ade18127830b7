//! The daemon as it is, against the sandbox's API server, Prometheus, Argo CD and Git, over real HTTP and in real time.
//!
//! What is waited for is a journal entry or a change in the sandbox, never a time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::similar_names,
    clippy::format_collect,
    clippy::indexing_slicing,
    reason = "a daemon that does something else ends the test; a stage has a state"
)]

#[path = "daemon/ledger.rs"]
mod ledger;
#[allow(dead_code, reason = "the tests of sinks use the rest")]
#[path = "sinks/server.rs"]
mod server;
#[path = "daemon/sinks.rs"]
mod sinks;
#[path = "daemon/stage.rs"]
mod stage;

use std::time::Duration;

use lastgood::engine::analysis::{AppState, Phase};
use lastgood::engine::entry::Kind;
use lastgood::engine::facts::AppKey;
use lastgood::record::state::StateStore as _;
use lastgood::record::state::files::FileStore;
use lastgood::run::once;
use lastgood::sandbox::apiserver::Fault;
use lastgood::sandbox::prometheus::Fault as PrometheusFault;

use stage::{Keep, Stage, policy};

/// How long a fault lasts: several of the daemon's intervals, and longer than its first pauses.
const FAULT: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_at_each_step_of_a_rollback_makes_one_revert() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("push", ""))]).await;
    stage.start();
    stage.until("LastGood").await;
    let bad = stage.deploy("v2-crash");
    for step in ["RevertIntended", "RevertPushed", "RevertLive"] {
        stage.until(step).await;
        stage.kill();
        // What is saved is what the next one begins with.
        let state = state(&stage).await;
        let meant = match step {
            "RevertIntended" => matches!(state.phase, Phase::Reverting(_) | Phase::Confirming(_)),
            _ => matches!(state.phase, Phase::Confirming(_) | Phase::Idle { .. }),
        };
        assert!(meant, "after {step}: {state:?}");
        stage.start();
    }
    stage.until("Recovered").await;
    stage.until("LastGood").await;
    let state = state(&stage).await;
    let reverts = stage.commits_with(&format!("Lastgood-Bad: {bad}"));
    assert_eq!(reverts.len(), 1, "{reverts:?}\n{}", stage.told());
    assert_eq!(
        state
            .reverts
            .iter()
            .flat_map(|past| &past.parts)
            .map(|part| part.revert.as_str())
            .collect::<Vec<_>>(),
        reverts
    );
    assert_eq!(state.last_good.unwrap().revisions.single().unwrap().as_str(), reverts.concat());
    assert_eq!(stage.times("RevertIntended"), 1, "{}", stage.told());
}

async fn state(stage: &Stage) -> AppState {
    let store = FileStore::open(stage.dir().join("state")).unwrap();
    let stored = store.load(&AppKey::new("argocd", "shop")).await.unwrap().unwrap();
    assert!(!stored.document.summary.phase.is_empty() && !stored.document.summary.revision.is_empty());
    serde_json::from_value(stored.document.state).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_api_server_during_an_analysis_neither_revert_nor_lose_the_story() {
    let mut stage = Stage::new(Keep::InTheCluster, &[("shop", &policy("push", ""))]).await;
    stage.start();
    stage.until("LastGood").await;
    stage.deploy("v2");
    stage.until("AnalysisBegan").await;
    for fault in [Fault::Unavailable, Fault::Hang, Fault::DropWatches] {
        stage.sandbox.api.set_fault(fault);
        tokio::time::sleep(FAULT).await;
        stage.sandbox.api.set_fault(Fault::None);
    }
    let verdict = stage.until_one_of(&["Healthy", "Inconclusive", "Degraded"]).await;
    assert_eq!(verdict, "Healthy", "{}", stage.told());
    // The faults are over and forgotten: what is bad now is reverted.
    let bad = stage.deploy("v3-crash");
    stage.until("RevertPushed").await;
    assert_eq!(stage.commits_with(&format!("Lastgood-Bad: {bad}")).len(), 1, "{}", stage.told());
    assert_eq!(stage.times("RevertIntended"), 1, "{}", stage.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_prometheus_leads_to_inconclusive_and_to_no_revert() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("push", ""))]).await;
    stage.with_slo("push", "1500ms");
    stage.start();
    stage.until("LastGood").await;
    stage.sandbox.prometheus.set_fault(PrometheusFault::Unavailable);
    let bad = stage.deploy("v2-errors");
    stage.until("Inconclusive").await;
    let state = state(&stage).await;
    assert!(state.hold.is_none() && state.reverts.is_empty(), "{state:?}");
    assert_ne!(state.last_good.unwrap().revisions.single().unwrap().as_str(), bad);
    assert_eq!(stage.sandbox.developer().tip().unwrap(), bad, "{}", stage.told());
    assert_eq!(stage.times("RevertIntended"), 0, "{}", stage.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_comes_to_the_verdict_of_the_daemon() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("dry-run", ""))]).await;
    stage.with_slo("dry-run", "4s");
    stage.start();
    stage.until("LastGood").await;
    let mut syncs = Vec::new();
    for (tag, reason, expected) in [("v2", "Healthy", "healthy"), ("v3-errors", "Degraded", "degraded")] {
        stage.deploy(tag);
        stage.until(reason).await;
        let (began, decided, verdict) = stage.verdict();
        let (code, out) =
            stage.replay(&["--at", &began.to_string(), "--until-verdict", "--output", "json"]).await;
        let told: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code}: {out}"));
        assert_eq!((code, told["verdict"].as_str()), (0, Some(expected)), "{verdict:?} {out}");
        // The daemon's clock does not tick as exactly.
        let at: jiff::Timestamp = told["decidedAt"].as_str().unwrap().parse().unwrap();
        assert!(at.duration_since(decided).unsigned_abs() < Duration::from_secs(1), "{decided} {out}");
        syncs.push(expected);
    }
    let (code, out) = stage.replay(&["--application", "shop", "--last", "2", "--output", "json"]).await;
    let read =
        |line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{code}: {out}"));
    let told = out.lines().map(read);
    let verdicts: Vec<_> = told.map(|told| told["verdict"].as_str().unwrap().to_owned()).collect();
    assert_eq!((code, verdicts), (0, syncs.into_iter().map(str::to_owned).collect()), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_while_the_daemon_runs_counts_from_then_on() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("dry-run", ""))]).await;
    stage.start();
    stage.until("LastGood").await;
    // A mistake changes nothing; the good version after it does.
    stage.write_policy("shop", "rollback: { mode: pull }");
    stage.write_policy("shop", &policy("push", ""));
    stage.policies_changed().await;
    stage.deploy("v2-crash");
    stage.until("RevertPushed").await;
    assert_eq!(stage.times("RevertPlanned"), 0, "{}", stage.told());
    assert_eq!(stage.sandbox.developer().tip().unwrap(), stage.commits_with("Lastgood-Rollback: ").concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_for_an_application_that_two_policies_claim() {
    let by_name = policy("push", "");
    let by_label = by_name.replace("{ name: shop, namespace: argocd }", "{ labels: { team: storefront } }");
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &by_name), ("storefront", &by_label)]).await;
    stage.start();
    stage.ready().await;
    stage.deploy("v2-crash");
    stage.crash_loop().await;
    assert!(stage.told().is_empty(), "{}", stage.told());
    // With one policy left, somebody looks, and for the first time: no last good is known.
    stage.remove_policy("storefront");
    stage.policies_changed().await;
    stage.deploy("v3");
    stage.until_any().await;
    assert_eq!(stage.times("RevertIntended"), 0, "{}", stage.told());
    assert!(stage.commits_with("Lastgood-Rollback: ").is_empty(), "{}", stage.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn that_nothing_could_be_pushed_is_told_before_there_is_anything_to_push() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("dry-run", ""))]).await;
    let config = stage.sandbox.repository().join("config");
    let not_bare = std::fs::read_to_string(&config).unwrap().replace("bare = true", "bare = false");
    std::fs::write(&config, not_bare).unwrap();
    stage.start();
    stage.until("LastGood").await;
    assert!(!stage.cannot_push(""), "a dry run has nothing to push");
    stage.write_policy("shop", &policy("push", ""));
    stage.policies_changed().await;
    stage.told_that_it_cannot_push("working tree is not supported").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_rolls_back_and_the_daemon_sees_it_through() {
    let long = policy("dry-run", "").replace("duration: 1500ms", "duration: 60s");
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("dry-run", ""))]).await;
    stage.start();
    stage.until("LastGood").await;
    stage.write_policy("shop", &long);
    stage.policies_changed().await;
    let bad = stage.deploy("v2");
    stage.until("AnalysisBegan").await;
    let request = stage.request("it shows the wrong prices");
    let planned = once::plan(&request).await.unwrap();
    assert!(matches!(kinds(&planned).last(), Some(Kind::RevertPlanned { .. })), "{planned:?}");
    let reverts = || stage.commits_with(&format!("Lastgood-Bad: {bad}"));
    assert_eq!(reverts(), Vec::<String>::new(), "a plan changes nothing");
    let done = once::carry_out(&request).await.unwrap();
    assert!(kinds(&done).any(|kind| matches!(kind, Kind::RevertPushed { .. })), "{done:?}");
    assert_eq!(reverts().len(), 1);
    assert_eq!(stage.commits_with("- a person: it shows the wrong prices").len(), 1);
    stage.until("RevertLive").await;
    stage.until("Recovered").await;
    assert_eq!(stage.times("RevertPushed"), 0, "the daemon pushed another one\n{}", stage.told());
    // What is good again has nothing to go back to.
    let again = once::plan(&request).await.unwrap();
    assert!(matches!(kinds(&again).last(), Some(Kind::HoldBegan { .. })), "{again:?}");
    assert!(state(&stage).await.hold.is_none(), "a plan holds nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_rolls_back_what_was_judged_healthy_and_says_what_it_does() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("push", ""))]).await;
    let good = stage.sandbox.developer().tip().unwrap();
    stage.start();
    stage.until("LastGood").await;
    let bad = stage.deploy("v2");
    stage.until("Healthy").await;
    stage.until("LastGood").await;
    let reverts = || stage.commits_with(&format!("Lastgood-Bad: {bad}"));
    let (code, text) = stage.rollback(&[]).await;
    assert!(code == 3 && text.contains("itself was last good"), "{code}: {text}");
    let (code, text) = stage.rollback(&["--to", "1234567"]).await;
    assert!(code == 1 && text.contains("no sync of `1234567`; it has"), "{code}: {text}");
    let (code, text) = stage.rollback(&["--to", &good[..10], "--output", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, json["outcome"].as_str()), (0, Some("planned")), "{text}");
    assert_eq!(json["parts"][0]["culprits"][0]["revision"], bad.as_str());
    assert!(reverts().is_empty(), "a plan changes nothing");
    let args = ["--to", &good, "--yes", "--because", "it shows the wrong prices"];
    let (code, text) = stage.rollback(&args).await;
    assert!(code == 0 && text.contains("a person says so") && text.contains("pushed"), "{code}: {text}");
    assert_eq!(reverts().len(), 1);
    stage.until("RevertLive").await;
    stage.until("Recovered").await;
    let (code, text) = stage.rollback(&["--yes", "--dry-run"]).await;
    assert!(code == 1 && text.contains("cannot be used with"), "{code}: {text}");
}

fn kinds(told: &once::Told) -> impl Iterator<Item = &Kind> {
    told.entries.iter().map(|entry| &entry.kind)
}
