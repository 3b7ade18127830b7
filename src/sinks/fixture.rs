//! Records for tests.

use serde_json::{Value, json};

use super::event::Event;
use crate::record::ledger::{Link, PolicyUsed, Record, Recorder, Subject};

/// A record of little; `app` names an application of the project `payments`.
pub(crate) fn record(id: &str, reason: &str, app: Option<&str>) -> Record {
    Record {
        id: id.to_owned(),
        at: "2026-01-31T12:00:00.25Z".parse().unwrap(),
        reason: reason.to_owned(),
        sentence: format!("{reason} is told"),
        warning: true,
        cluster: "prod".into(),
        application: app.map(|name| Subject {
            namespace: "argocd".into(),
            name: name.to_owned(),
            uid: "u1".into(),
            project: Some("payments".into()),
            destination: None,
        }),
        rollback: None,
        by: Recorder { version: "1.2.3".into(), ..Recorder::default() },
        policy: None,
        detail: Value::Null,
        evidence: None,
        inputs: None,
    }
}

/// A rollback that helped.
pub(crate) fn recovered() -> Record {
    let mut recovered = record("r1", "Recovered", Some("shop"));
    recovered.rollback = Some("argocd/shop@d36f1ce2cf28".into());
    recovered.warning = false;
    recovered.policy = Some(PolicyUsed {
        name: "web".into(),
        hash: crate::record::ledger::Digest::of(b"policy"),
        text: Some("the text".into()),
    });
    let timings = json!({ "detected": 60.5, "pushed": 1.5, "live": 10.5, "recovered": 30.5 });
    recovered.detail = json!({ "timings": timings });
    recovered
}

/// The link of this record at this place.
pub(crate) fn link(sequence: u64, record: &Record) -> Link {
    let mut link = Link::after(None, record).unwrap();
    link.sequence = sequence;
    link
}

/// What is told of a record.
pub(crate) fn event(record: Record) -> Event {
    Event::of(&link(7, &record), record, "lastgood/ledger").unwrap()
}
