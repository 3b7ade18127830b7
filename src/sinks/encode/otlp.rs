//! OpenTelemetry by OTLP/HTTP in JSON: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.
//!
//! Written by hand: the crates of OpenTelemetry bring an SDK with queues, threads and retries of their own, and ours must
//! know when a record was taken. What is needed of the format is these few members.

use serde::Serialize;

use super::trace::{self, Span};
use super::{EncodeError, Request, below, post};
use crate::sinks::event::Event;
use crate::sinks::read::Sink;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attribute {
    key: &'static str,
    value: AnyValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue {
    string_value: String,
}

impl Attribute {
    pub(super) fn text(key: &'static str, value: impl Into<String>) -> Self {
        Self { key, value: AnyValue { string_value: value.into() } }
    }
}

#[derive(Serialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'static str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logs<'a> {
    resource_logs: Vec<ResourceLogs<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    resource: Resource,
    scope_logs: [ScopeLogs<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    scope: Scope<'a>,
    log_records: [LogRecord<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord<'a> {
    time_unix_nano: String,
    severity_number: u8,
    severity_text: &'static str,
    /// Names the kind of event.
    event_name: String,
    body: AnyValue,
    attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(skip)]
    _event: &'a Event,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Traces<'a> {
    resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope<'a>,
    spans: Vec<Span>,
}

/// The logs first: they are all there is of most records.
pub(super) fn requests(sink: &Sink, events: &[&Event]) -> Result<Vec<Request>, EncodeError> {
    let resource_logs = events.iter().copied().map(logs).collect::<Result<_, _>>()?;
    let body = serde_json::to_vec(&Logs { resource_logs })?;
    let mut requests = vec![post(below(sink, &["v1", "logs"])?, "application/json", body)];
    let resource_spans: Vec<ResourceSpans<'_>> = events.iter().copied().filter_map(spans).collect();
    if !resource_spans.is_empty() {
        let body = serde_json::to_vec(&Traces { resource_spans })?;
        requests.push(post(below(sink, &["v1", "traces"])?, "application/json", body));
    }
    Ok(requests)
}

/// By the semantic conventions for services and Kubernetes.
fn resource(event: &Event) -> Resource {
    let mut attributes = vec![
        Attribute::text("service.name", "lastgood"),
        Attribute::text("service.version", &event.by.version),
        Attribute::text("k8s.cluster.name", &event.cluster),
    ];
    if let Some((namespace, name)) = event.by.pod.as_deref().and_then(|pod| pod.split_once('/')) {
        attributes.push(Attribute::text("k8s.namespace.name", namespace));
        attributes.push(Attribute::text("k8s.pod.name", name));
    }
    Resource { attributes }
}

fn scope(event: &Event) -> Scope<'_> {
    Scope { name: "lastgood", version: &event.by.version }
}

fn logs(event: &Event) -> Result<ResourceLogs<'_>, serde_json::Error> {
    let mut attributes = attributes(event);
    if !event.detail.is_null() {
        attributes.push(Attribute::text("lastgood.detail", serde_json::to_string(&event.detail)?));
    }
    if let Some(evidence) = &event.evidence {
        attributes.push(Attribute::text("lastgood.evidence", serde_json::to_string(evidence)?));
    }
    let (trace_id, span_id) = event.rollback.as_deref().map(|id| trace::ids(&event.cluster, id)).unzip();
    // The numbers of the log data model.
    let (severity_number, severity_text) = if event.warning { (13, "WARN") } else { (9, "INFO") };
    let record = LogRecord {
        time_unix_nano: event.at.as_nanosecond().to_string(),
        severity_number,
        severity_text,
        event_name: format!("dev.lastgood.{}", event.reason),
        body: AnyValue { string_value: event.sentence.clone() },
        attributes,
        trace_id,
        span_id,
        _event: event,
    };
    let scope_logs = [ScopeLogs { scope: scope(event), log_records: [record] }];
    Ok(ResourceLogs { resource: resource(event), scope_logs })
}

/// What names a record, in logs and spans alike.
fn attributes(event: &Event) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::text("lastgood.record.id", &event.id),
        Attribute::text("lastgood.reason", &event.reason),
        Attribute::text("lastgood.ledger", &event.ledger.place),
        Attribute::text("lastgood.ledger.sequence", event.ledger.sequence.to_string()),
        Attribute::text("lastgood.record.hash", &event.ledger.record_hash),
    ];
    let app = event.application.as_ref();
    for (key, value) in [
        ("lastgood.application", event.subject()),
        ("lastgood.project", app.and_then(|app| app.project.clone())),
        ("lastgood.rollback", event.rollback.clone()),
        ("lastgood.policy", event.policy.as_ref().map(|policy| policy.name.clone())),
    ] {
        attributes.extend(value.map(|value| Attribute::text(key, value)));
    }
    attributes
}

fn spans(event: &Event) -> Option<ResourceSpans<'_>> {
    let spans = trace::spans(event, || attributes(event))?;
    Some(ResourceSpans {
        resource: resource(event),
        scope_spans: [ScopeSpans { scope: scope(event), spans }],
    })
}
