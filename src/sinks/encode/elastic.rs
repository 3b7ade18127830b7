//! The bulk API of Elasticsearch and OpenSearch, with the fields of the Elastic Common Schema (ECS).
//!
//! Each document is created under the record's id, which a data stream takes as well as an index: one that is sent again
//! is refused as there already (409), and so is not there twice.

use serde::Serialize;
use serde_json::{Value, json};

use super::{EncodeError, Request, below, lines, post};
use crate::sinks::event::Event;
use crate::sinks::read::Sink;

/// A data stream's name: type, dataset, namespace.
const INDEX: &str = "logs-lastgood-default";

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Action { create: Create<'a> },
    Document(Value),
}

#[derive(Serialize)]
struct Create<'a> {
    _index: &'a str,
    _id: &'a str,
}

pub(super) fn request(sink: &Sink, events: &[&Event]) -> Result<Request, EncodeError> {
    let index = sink.index.as_deref().unwrap_or(INDEX);
    let mut documents = Vec::new();
    for &event in events {
        documents.push(Line::Action { create: Create { _index: index, _id: &event.id } });
        documents.push(Line::Document(document(event)?));
    }
    Ok(post(below(sink, &["_bulk"])?, "application/x-ndjson", lines(documents)?))
}

fn document(event: &Event) -> Result<Value, serde_json::Error> {
    // As text: what they hold differs from reason to reason, and an index wants one type for one field.
    let text =
        |value: &Value| if value.is_null() { Ok(None) } else { serde_json::to_string(value).map(Some) };
    let app = event.application.as_ref();
    Ok(json!({
        "@timestamp": event.at,
        "message": event.sentence,
        "log": { "level": event.level(), "logger": "lastgood" },
        "event": {
            "id": event.id,
            "kind": if event.warning { "alert" } else { "event" },
            "category": ["configuration"],
            "type": ["change"],
            "action": event.reason,
            "provider": "lastgood",
            "dataset": "lastgood",
        },
        "service": { "name": "lastgood", "version": event.by.version },
        "orchestrator": {
            "type": "kubernetes",
            "cluster": { "name": event.cluster },
            "namespace": app.map(|app| &app.namespace),
            "resource": { "type": "application", "name": app.map(|app| &app.name) },
        },
        "lastgood": {
            "application": event.subject(),
            "project": app.and_then(|app| app.project.as_ref()),
            "rollback": event.rollback,
            "policy": event.policy,
            "by": event.by,
            "detail": text(&event.detail)?,
            "evidence": text(event.evidence.as_ref().unwrap_or(&Value::Null))?,
            "ledger": event.ledger,
            "left_out": event.left_out,
        },
    }))
}
