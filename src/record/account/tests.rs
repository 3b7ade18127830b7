use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::engine::action::{Culprit, RevertOutcome, RevertRecord, RevertedPart, Round};
use crate::engine::analysis::{AppState, LastGood, Seen};
use crate::engine::decide::step;
use crate::engine::event::SloAnswer;
use crate::engine::facts::{Gap, HistoryEntry, Operation, OperationPhase, Reading, RolloutFacts};
use crate::engine::fixture::{application, at, commit, operation, policy as rules};
use crate::engine::policy::{Objective, Part, Prometheus, Rule, Slo, Strikes};
use crate::engine::template::Template;
use crate::record::waiting::Waiting;

/// One that must be found nowhere.
const CANARY: &str = "c4nary-t0ken";

/// An application whose every text that a person writes holds a canary where a secret may stand.
fn facts() -> ApplicationFacts {
    let mut facts = application();
    facts.destination_cluster = format!("https://admin:{CANARY}@cluster.example.com");
    for source in &mut facts.sources {
        source.repo_url = format!("https://ann:{CANARY}@git.example.com/shop.git");
    }
    facts.history = vec![HistoryEntry {
        id: 7,
        revisions: commit('a').into(),
        started_at: Some(at(10)),
        deployed_at: at(12),
        initiated_by: Some("ann".into()),
        spec_digest: "spec".into(),
    }];
    facts
}

fn policy() -> Policy {
    let url = format!("https://bob:{CANARY}@prometheus.example.com/?access_token={CANARY}");
    let headers = BTreeMap::from([("X-Api-Key".to_owned(), CANARY.to_owned())]);
    let query = Template::parse(r#"errors{app="{{ application }}"}"#).unwrap();
    let strikes = Strikes { failures: 2, of: 3 };
    let rule = Rule::Threshold { objective: Objective::Max(0.05), strikes };
    Policy {
        text: format!("prometheus:\n  url: \"{url}\"\n  headers: {{ X-Api-Key: \"{CANARY}\" }}\n"),
        prometheus: Some(Prometheus { headers, ..Prometheus::new(url, Duration::from_secs(5)) }),
        slos: vec![Slo::new("errors", query, rule)],
        ..rules()
    }
}

/// Takes events in as the daemon does, and keeps what waits.
struct Story {
    app: App,
    policy: Policy,
    now: i64,
    waiting: Waiting,
}

impl Story {
    fn new() -> Self {
        let last_good = LastGood {
            revisions: commit('a').into(),
            spec_digest: "spec".into(),
            dry_digest: None,
            tracked: Vec::new(),
            synced_at: Some(at(10)),
            at: at(20),
            from: LastGoodFrom::Analysis,
        };
        let phase = Phase::Idle { current: commit('a').into() };
        let state = AppState { phase, last_good: Some(last_good), ..AppState::default() };
        Self {
            app: App { state, seen: Seen::default() },
            policy: policy(),
            now: 100,
            waiting: Waiting::default(),
        }
    }

    fn take(&mut self, event: &Event) {
        self.now += 10;
        let key = AppKey::new("argocd", "shop");
        let context = Context {
            policy: &self.policy,
            cluster: "test",
            now: at(self.now),
            others_degraded: 0,
            parent: None,
        };
        let step = step(&key, self.app.clone(), event.clone(), &context);
        let by = Recorder { version: "1".into(), ..Recorder::default() };
        let (before, after) = (&self.app, &step.app);
        let scene = Scene { key: &key, uid: "uid", by: &by, before, event, context, after };
        self.waiting.add(&step.entries, &scene).unwrap();
        self.app = step.app;
    }

    fn sync(&mut self, operation: Operation) {
        let operation = Some(operation);
        self.take(&Event::Application(Box::new(ApplicationFacts { operation, ..facts() })));
    }

    fn measured(&mut self, round: u32, values: &[(i64, Reading)]) {
        let Phase::Analysing(analysis) = &self.app.state.phase else { panic!("{:?}", self.app.state.phase) };
        let round = Round { began_at: analysis.seen_at, number: round };
        let answer = |(second, reading): &(i64, Reading)| SloAnswer {
            slo: "errors".into(),
            part: Part::Value,
            series: BTreeMap::new(),
            at: at(*second),
            reading: reading.clone(),
        };
        self.take(&Event::Measured { round, answers: values.iter().map(answer).collect() });
    }

    fn records(&self) -> Vec<Record> {
        self.waiting.records().iter().map(|packed| packed.record().unwrap()).collect()
    }
}

/// A sync that fails by its errors, and its revert.
fn story() -> Story {
    let mut story = Story::new();
    let rollout = RolloutFacts { at: at(100), workloads: Vec::new(), gap: None };
    story.take(&Event::Rollout(rollout));
    story.sync(operation(OperationPhase::Succeeded, Some(101)));
    let value = Reading::Value;
    story.measured(0, &[(80, value(0.01)), (90, value(0.01)), (100, value(0.01))]);
    let said = format!(
        "502 from https://bob:{CANARY}@prometheus.example.com, sent `Authorization: Bearer {CANARY}`"
    );
    story.measured(1, &[(120, Reading::Gap(Gap::ServerError(said)))]);
    story.measured(2, &[(130, value(0.5)), (140, value(0.6))]);
    let Phase::Reverting(reverting) = &story.app.state.phase else { panic!("{:?}", story.app.state) };
    let rollback = reverting.order.rollback.clone();
    let culprit = Culprit {
        revision: commit('b'),
        author: "Bob <bob@example.com>".into(),
        authored_at: at(90),
        committer: Some("Ann <ann@example.com>".into()),
        committed_at: Some(at(95)),
        subject: format!("use glpat-{CANARY}"),
    };
    let part = RevertedPart {
        repo_url: format!("https://ann:{CANARY}@git.example.com/shop.git"),
        branch: "main".into(),
        sources: vec![0],
        definition: None,
        bad: commit('b'),
        revert: commit('c'),
        culprits: vec![culprit],
        files: vec!["shop/deployment.yaml".into()],
        quarantine: "content".into(),
        notes: Vec::new(),
        attempts: 1,
    };
    let error = format!("cannot reach https://ann:{CANARY}@git.example.com/shop.git");
    story.take(&Event::Reverted { rollback: rollback.clone(), outcome: RevertOutcome::Failed { error } });
    let record = RevertRecord { parts: vec![part], touches: Vec::new() };
    story.take(&Event::Reverted { rollback, outcome: RevertOutcome::Pushed(record) });
    story
}

#[test]
fn no_record_holds_a_secret_whatever_people_and_servers_wrote() {
    let story = story();
    // The canaries are there to be found.
    assert!(format!("{:?} {:?}", story.app, story.policy).contains(CANARY));
    let records = story.records();
    let reasons: Vec<_> = records.iter().map(|record| record.reason.as_str()).collect();
    assert_eq!(reasons, ["Degraded", "RevertIntended", "RevertPushed"]);
    for record in &records {
        let text = serde_json::to_string(record).unwrap();
        assert!(!text.contains(CANARY), "{text}");
    }
    let [_, intended, _] = records.as_slice() else { panic!("{reasons:?}") };
    let text = intended.policy.as_ref().unwrap().text.as_deref().unwrap();
    assert!(text.contains("X-Api-Key: \"***\"") && text.contains("access_token=***"), "{text}");
}

#[test]
fn the_evidence_holds_the_values_that_convicted_and_the_sync() {
    let records = story().records();
    let intended = records.iter().find(|record| record.reason == "RevertIntended").unwrap();
    let evidence = intended.evidence.as_ref().unwrap();
    let signal = evidence.pointer("/signals/0").unwrap();
    assert_eq!(signal.pointer("/queries/0/promql").unwrap(), r#"errors{app="shop"}"#);
    assert_eq!(signal.pointer("/before/0/samples/0"), Some(&json!([80_000, 0.01])));
    // The one that came with the event of the verdict.
    assert_eq!(signal.pointer("/after/0/samples/2"), Some(&json!([140_000, 0.6])));
    assert_eq!(signal.pointer("/breach/failing"), Some(&json!(2)));
    let sync = json!({
        "revisions": [commit('b')], "startedAt": "1970-01-01T00:01:40Z", "finishedAt": "1970-01-01T00:01:41Z",
        "phase": "Succeeded", "initiatedBy": "automated"
    });
    assert_eq!(evidence["sync"], sync);
    assert_eq!(evidence["phases"], json!({ "detected": 50 }));
    let pushed = records.iter().find(|record| record.reason == "RevertPushed").unwrap();
    assert_eq!(pushed.evidence.as_ref().unwrap()["phases"], json!({ "detected": 50, "pushed": 20 }));
    assert_eq!(pushed.rollback, intended.rollback);
}

#[test]
fn the_same_is_decided_again_from_the_record_alone_also_if_it_has_more_fields_than_are_known() {
    let records = story().records();
    let mut intended = records.iter().find(|record| record.reason == "RevertIntended").unwrap().clone();
    let again = |record: &Record| inputs::replay(record).unwrap().differences;
    assert_eq!(again(&intended), Vec::<String>::new());
    for place in ["", "/state", "/seen", "/policy", "/event/measured", "/seen/application"] {
        let members = intended.inputs.as_mut().unwrap().pointer_mut(place).unwrap();
        members.as_object_mut().unwrap_or_else(|| panic!("{place}")).insert("weather".into(), "fair".into());
    }
    assert_eq!(again(&intended), Vec::<String>::new());
    *intended.inputs.as_mut().unwrap().pointer_mut("/policy/slos/0/rule/threshold/objective/max").unwrap() =
        json!(0.7);
    assert_eq!(again(&intended), ["the record says RevertIntended, and now nothing would be decided"]);
    let pushed = records.iter().find(|record| record.reason == "RevertPushed").unwrap();
    let error = inputs::replay(pushed).unwrap_err().to_string();
    assert!(error.contains("holds nothing that it was decided from"), "{error}");
}

#[test]
fn ids_name_the_time_the_application_and_the_count() {
    let id = id("2026-01-31T23:59:59.5Z".parse().unwrap(), "0d3e-../x", 12);
    assert_eq!(id, "20260131T235959500Z-0d3e-x-000012");
}
