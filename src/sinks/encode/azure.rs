//! The Logs Ingestion API of Azure Monitor, whose tables Microsoft Sentinel reads:
//! <https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview>. 1 MB a request.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{EncodeError, Request, below, post};
use crate::sinks::event::{Event, Position};
use crate::sinks::read::Sink;

/// The API's version.
const API_VERSION: &str = "2023-01-01";

/// A row, as the rule's stream must declare it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    time_generated: Timestamp,
    record_id: &'a str,
    reason: &'a str,
    message: &'a str,
    severity: &'static str,
    cluster: &'a str,
    application: Option<String>,
    project: Option<&'a str>,
    rollback: Option<&'a str>,
    policy: Option<&'a str>,
    detail: &'a Value,
    evidence: Option<&'a Value>,
    ledger: &'a Position,
}

pub(super) fn request(sink: &Sink, events: &[&Event]) -> Result<Request, EncodeError> {
    let rows: Vec<Row<'_>> = events.iter().copied().map(row).collect();
    let (rule, stream) = sink.stream.as_ref().map_or(("", ""), |(rule, stream)| (rule, stream));
    let mut url = below(sink, &["dataCollectionRules", rule, "streams", stream])?;
    url.query_pairs_mut().append_pair("api-version", API_VERSION);
    Ok(post(url, "application/json", serde_json::to_vec(&rows)?))
}

fn row(event: &Event) -> Row<'_> {
    Row {
        time_generated: event.at,
        record_id: &event.id,
        reason: &event.reason,
        message: &event.sentence,
        severity: if event.warning { "Warning" } else { "Informational" },
        cluster: &event.cluster,
        application: event.subject(),
        project: event.application.as_ref().and_then(|app| app.project.as_deref()),
        rollback: event.rollback.as_deref(),
        policy: event.policy.as_ref().map(|policy| policy.name.as_str()),
        detail: &event.detail,
        evidence: event.evidence.as_ref(),
        ledger: &event.ledger,
    }
}
