//! What a sink is told of a record: all of it but what only lastgood can read.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::record::ledger::{Link, PolicyUsed, Record, Recorder, Subject};
use crate::record::secrets;

/// Bytes of an event's JSON. Loki takes lines of 256 KiB, Azure Monitor 1 MB a request, Splunk and Datadog 1 MB an event.
pub(super) const EVENT_BYTES_MAX: usize = 200 * 1024;

/// A record on its way out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    /// The record's id: the same each time that it is sent.
    pub(super) id: String,
    /// When it was decided.
    pub(super) at: Timestamp,
    /// What kind it is of, as in the log.
    pub(super) reason: String,
    /// The one sentence, as in the log.
    pub(super) sentence: String,
    /// Whether a person should see it without looking for it.
    pub(super) warning: bool,
    /// The daemon's cluster.
    pub(super) cluster: String,
    /// Which application it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) application: Option<Subject>,
    /// Names the rollback that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollback: Option<String>,
    /// Who recorded it.
    pub(super) by: Recorder,
    /// The policy that was in force, without its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<PolicyUsed>,
    /// What happened; its members depend on the reason.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(super) detail: Value,
    /// What it was decided from, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) evidence: Option<Value>,
    /// Where the record lies.
    pub(super) ledger: Position,
    /// What the ledger has and this has not, since it would be too long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) left_out: Vec<&'static str>,
    /// Bytes of its JSON.
    #[serde(skip)]
    pub(super) bytes: usize,
}

/// A record's place in its ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Position {
    /// Which ledger.
    pub(super) place: String,
    /// Its number there.
    pub(super) sequence: u64,
    /// The hash of the record alone, as the revert's commit has it.
    pub(super) record_hash: String,
}

impl Event {
    /// What is told of this link of the ledger at `place`.
    pub(super) fn of(link: &Link, record: Record, place: &str) -> Result<Self, serde_json::Error> {
        let Record { id, at, reason, sentence, warning, cluster, application, rollback, by, .. } = record;
        let policy = record.policy.map(|policy| PolicyUsed { text: None, ..policy });
        let ledger = Position {
            place: place.to_owned(),
            sequence: link.sequence,
            record_hash: link.record_hash()?.to_string(),
        };
        let mut event = Self {
            id,
            at,
            reason,
            sentence,
            warning,
            cluster,
            application,
            rollback,
            by,
            policy,
            detail: record.detail,
            evidence: record.evidence,
            ledger,
            left_out: Vec::new(),
            bytes: 0,
        };
        event.hide_secrets();
        event.shorten()?;
        Ok(event)
    }

    /// Records hold no secrets; one of before that, or of another writer, may.
    fn hide_secrets(&mut self) {
        secrets::hide(&mut self.detail);
        self.evidence.as_mut().into_iter().for_each(secrets::hide);
        self.sentence = secrets::hidden(&self.sentence);
        self.ledger.place = secrets::hidden(&self.ledger.place);
    }

    /// Leaves out what makes it too long: the ledger has it.
    fn shorten(&mut self) -> Result<(), serde_json::Error> {
        self.bytes = serde_json::to_vec(self)?.len();
        if self.bytes > EVENT_BYTES_MAX && self.evidence.take().is_some() {
            self.left_out.push("evidence");
            self.bytes = serde_json::to_vec(self)?.len();
        }
        if self.bytes > EVENT_BYTES_MAX {
            self.detail = Value::Null;
            self.left_out.push("detail");
            self.bytes = serde_json::to_vec(self)?.len();
        }
        Ok(())
    }

    /// The application as `namespace/name`, if it is about one.
    pub(super) fn subject(&self) -> Option<String> {
        self.application.as_ref().map(|app| format!("{}/{}", app.namespace, app.name))
    }

    /// The severity in the words of logs.
    pub(super) fn level(&self) -> &'static str {
        if self.warning { "warning" } else { "info" }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sinks::fixture::{link, record};

    #[test]
    fn an_event_is_the_record_without_what_only_lastgood_can_read() {
        let mut record = record("a", "RevertPushed", Some("shop"));
        record.inputs = Some(json!({ "state": 1 }));
        record.evidence = Some(json!({ "signals": [] }));
        let event = Event::of(&link(7, &record), record, "ledger").unwrap();
        let told = serde_json::to_value(&event).unwrap();
        assert_eq!(told["ledger"]["sequence"], 7);
        assert_eq!(told["evidence"], json!({ "signals": [] }));
        assert!(told.get("inputs").is_none() && told.get("leftOut").is_none(), "{told}");
    }

    #[test]
    fn what_is_too_long_is_left_out_and_said_so() {
        let long = |n: usize| json!("a".repeat(n));
        let told = |detail, evidence| {
            let mut record = record("a", "RevertPushed", Some("shop"));
            record.detail = detail;
            record.evidence = Some(evidence);
            let event = Event::of(&link(1, &record), record, "ledger").unwrap();
            assert!(serde_json::to_vec(&event).unwrap().len() <= EVENT_BYTES_MAX);
            event.left_out
        };
        assert_eq!(told(long(1000), long(1000)), Vec::<&str>::new());
        assert_eq!(told(long(1000), long(EVENT_BYTES_MAX)), ["evidence"]);
        assert_eq!(told(long(EVENT_BYTES_MAX), long(1000)), ["evidence", "detail"]);
    }
}
