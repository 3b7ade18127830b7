//! The ledger's records of what the daemon decides and does.

use std::collections::BTreeSet;

use lastgood::record::account::inputs;
use lastgood::record::ledger::Record;
use lastgood::run::once;
use serde_json::Value;

use crate::stage::{Keep, Stage, policy};

/// The steps of a rollback that helps.
const ROLLBACK: [&str; 5] = ["Degraded", "RevertIntended", "RevertPushed", "RevertLive", "Recovered"];

/// The only record of this.
#[track_caller]
fn only<'a>(records: &'a [Record], reason: &str) -> &'a Record {
    let of: Vec<_> = records.iter().filter(|record| record.reason == reason).collect();
    assert_eq!(of.len(), 1, "{reason} in {:?}", reasons(records));
    of[0]
}

fn reasons(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.reason.as_str()).collect()
}

/// The commit of the revert names the record of its intent, and the record of the push names the commit.
fn check_trailer(stage: &Stage, records: &[Record]) {
    let hash = only(records, "RevertIntended").hash().unwrap();
    let commits = stage.commits_with(&format!("Lastgood-Record: {hash}"));
    assert_eq!(commits.len(), 1, "no commit vouches for {hash}");
    let pushed = only(records, "RevertPushed");
    assert_eq!(pushed.detail["record"]["parts"][0]["revert"], commits[0].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_rollback_has_a_record_and_its_commit_names_the_intent() {
    let mut stage = Stage::new(Keep::InTheCluster, &[("shop", &policy("push", ""))]).await;
    stage.with_slo("push", "2s");
    stage.start();
    stage.until("LastGood").await;
    let good = stage.deploy("v2");
    stage.until("Healthy").await;
    let bad = stage.deploy("v3-errors");
    stage.until("Recovered").await;
    stage.recorded("Recovered").await;
    let records = stage.records();
    for reason in ROLLBACK {
        let record = only(&records, reason);
        assert_eq!(record.application.as_ref().unwrap().name, "shop");
        assert_eq!(record.by.version, "test");
        assert_eq!(
            record.rollback.as_deref(),
            Some(format!("argocd/shop@{}", &bad[..12]).as_str()),
            "{reason}"
        );
        assert_eq!(record.policy.as_ref().unwrap().name, "shop");
        assert!(record.policy.as_ref().unwrap().text.as_ref().unwrap().contains("error-rate"));
    }
    check_trailer(&stage, &records);

    let evidence = only(&records, "RevertIntended").evidence.as_ref().unwrap();
    assert_eq!((&evidence["bad"][0], &evidence["good"][0]), (&bad.clone().into(), &good.into()));
    assert_eq!(evidence["sync"]["revisions"][0], bad.as_str());
    assert!(
        evidence["sync"]["startedAt"].is_string() && evidence["sync"]["initiatedBy"].is_string(),
        "{evidence}"
    );
    let signal = &evidence["signals"][0];
    assert!(signal["queries"][0]["promql"].as_str().unwrap().contains(r#"app="shop""#), "{evidence}");
    assert_eq!(signal["rule"]["threshold"]["objective"]["max"], 0.05);
    let failing = |sample: &Value| sample[1].as_f64().is_some_and(|value| value > 0.05);
    let after = signal["after"][0]["samples"].as_array().unwrap();
    assert!(after.iter().filter(|sample| failing(sample)).count() >= 2, "{evidence}");
    let before = signal["before"][0]["samples"].as_array().unwrap();
    assert!(!before.is_empty() && !before.iter().any(failing), "{evidence}");

    let culprit = &only(&records, "RevertPushed").detail["record"]["parts"][0]["culprits"][0];
    assert_eq!(culprit["author"], "Bob <bob@example.com>");
    assert!(culprit["committer"].is_string() && culprit["committedAt"].is_string(), "{culprit}");
    let recovered = only(&records, "Recovered").evidence.as_ref().unwrap();
    for phase in ["detected", "pushed", "live", "settled"] {
        assert!(recovered["phases"][phase].is_number(), "{phase} in {recovered}");
    }
    assert_eq!(recovered["revertSync"]["revisions"][0], stage.sandbox.developer().tip().unwrap());
    let operations: BTreeSet<_> =
        ["sync", "revertSync"].iter().map(|of| recovered[of]["historyId"].as_i64().unwrap()).collect();
    assert_eq!(operations.len(), 2, "{recovered}");

    // From the record alone the same is decided.
    let again = inputs::replay(only(&records, "RevertIntended")).unwrap();
    assert_eq!(again.differences, Vec::<String>::new());
    let mut doctored = only(&records, "RevertIntended").clone();
    doctored.inputs.as_mut().unwrap()["policy"]["mode"] = "dryRun".into();
    let again = inputs::replay(&doctored).unwrap();
    assert_eq!(again.differences, ["/order/mode: the record says \"push\", and now it would be \"dryRun\""]);

    let file = stage.dir().join("ledger").join(only(&records, "RevertIntended").path());
    let (code, out) = stage.audit(&["replay", file.to_str().unwrap()]).await;
    assert!(code == 0 && out.contains("The same is decided again:"), "{code}: {out}");
    let file = stage.dir().join("doctored.json");
    std::fs::write(&file, serde_json::to_vec(&doctored).unwrap()).unwrap();
    let (code, out) = stage.audit(&["replay", file.to_str().unwrap(), "--output", "json"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["same"], told["differences"].as_array().unwrap().len()), (1, &false.into(), 1));
    let ledger = stage.dir().join("ledger");
    let (code, out) = stage.audit(&["verify", "--chain-only", "--ledger", ledger.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{out}");

    let schema = serde_json::to_value(lastgood::record::ledger::schema()).unwrap();
    let schema = jsonschema::draft7::new(&schema).unwrap();
    for link in stage.ledger().after(0, usize::MAX).unwrap() {
        let wrong: Vec<_> = schema
            .iter_errors(&serde_json::to_value(&link).unwrap())
            .map(|error| error.to_string())
            .collect();
        assert_eq!(wrong, Vec::<String>::new(), "{link:?}");
    }

    let loaded = only(&records, "PoliciesLoaded");
    assert_eq!(
        loaded.detail["policies"][0]["hash"],
        only(&records, "Recovered").policy.as_ref().unwrap().hash.as_str()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_down_holds_no_rollback_up_and_gets_each_record_once() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("push", ""))]).await;
    stage.start();
    stage.until("LastGood").await;
    stage.ledger_is_down(true);
    stage.deploy("v2-crash");
    // Each of these kills lies between the save and the append.
    for step in ["RevertIntended", "RevertPushed"] {
        stage.until(step).await;
        stage.kill();
        stage.start();
    }
    stage.until("Recovered").await;
    assert_eq!(stage.records(), [], "the ledger was down");
    stage.told_by_event("LedgerNotWritten").await;
    stage.ledger_is_down(false);
    stage.recorded("Recovered").await;
    let records = stage.records();
    let of_rollback: Vec<_> =
        records.iter().filter(|record| ROLLBACK.contains(&record.reason.as_str())).cloned().collect();
    assert_eq!(reasons(&of_rollback), ROLLBACK, "{:?}", reasons(&records));
    check_trailer(&stage, &records);
    // What the ledger has waits no longer, also for the next daemon.
    stage.nothing_waits().await;
    stage.kill();
    stage.start();
    stage.ready().await;
    stage.deploy("v3");
    stage.until("Healthy").await;
    assert_eq!(reasons(&stage.records()).iter().filter(|reason| **reason == "Recovered").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_and_its_end_have_records() {
    let once_a_day = policy("push", "").replace("rollback: {", "rollback: { revertsPerDay: 1,");
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &once_a_day)]).await;
    stage.start();
    stage.until("LastGood").await;
    stage.deploy("v2-crash");
    stage.until("Recovered").await;
    stage.deploy("v3-crash");
    stage.until("HoldBegan").await;
    stage.recorded("HoldBegan").await;
    let records = stage.records();
    let held = only(&records, "HoldBegan");
    assert_eq!(held.detail["why"]["budget"]["count"], 1);
    assert_eq!(inputs::replay(held).unwrap().differences, Vec::<String>::new());
    stage.resume(held.detail["id"].as_str().unwrap()).await;
    stage.recorded("HoldEnded").await;
    assert_eq!(only(&stage.records(), "HoldEnded").detail["by"], "person");
    let trailers = stage.commits_with("Lastgood-Record: ");
    assert_eq!(
        trailers,
        stage.commits_with("Lastgood-Rollback: "),
        "one of the rollback, and none of the refusal"
    );
    assert_eq!(trailers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_rollback_has_its_records_whoever_goes_on_with_it() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("push", ""))]).await;
    stage.start();
    stage.until("LastGood").await;
    stage.deploy("v2");
    stage.until("Healthy").await;
    stage.kill();
    let mut request = stage.request("it shows the wrong prices");
    request.to = Some(stage.first_commit());
    once::plan(&request).await.unwrap();
    assert!(!reasons(&stage.records()).contains(&"RevertIntended"), "a plan is no record");
    once::carry_out(&request).await.unwrap();
    let records = stage.records();
    check_trailer(&stage, &records);
    let person = only(&records, "LastGood");
    assert_eq!(person.detail["from"], "person");
    assert_eq!(inputs::replay(only(&records, "RevertIntended")).unwrap().differences, Vec::<String>::new());
    stage.nothing_waits().await;
    stage.start();
    stage.until("Recovered").await;
    stage.recorded("Recovered").await;
    check_trailer(&stage, &stage.records());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_lies_on_a_branch_of_the_repository_and_each_vouches_for_the_other() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("push", ""))]).await;
    stage.keep_ledger_on_branches();
    stage.start();
    stage.until("LastGood").await;
    stage.deploy("v2-crash");
    stage.until("Recovered").await;
    let listed = stage.listed("Recovered").await;
    for reason in ROLLBACK.iter().chain(&["DaemonStarted", "PoliciesLoaded"]) {
        assert_eq!(listed.matches(&format!(" {reason} ")).count(), 1, "{reason} in {listed}");
    }
    let repository = stage.sandbox.repository().to_str().unwrap().to_owned();
    let (code, out) = stage.audit(&["verify", "--repo", &repository]).await;
    assert_eq!(code, 0, "{out}");
    assert_eq!(stage.commits_with("Lastgood-Record: sha256:").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_only_makes_dry_runs_leaves_the_repository_as_it_is() {
    let mut stage = Stage::new(Keep::InFiles, &[("shop", &policy("dry-run", ""))]).await;
    stage.keep_ledger_on_branches();
    stage.start();
    stage.until("LastGood").await;
    stage.deploy("v2-crash");
    stage.until("RevertPlanned").await;
    stage.kill();
    let repository = git2::Repository::open_bare(stage.sandbox.repository()).unwrap();
    let names: Vec<String> =
        repository.references().unwrap().map(|one| one.unwrap().name().unwrap().to_owned()).collect();
    assert_eq!(names, ["refs/heads/main"]);
}
