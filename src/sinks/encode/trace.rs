//! The trace of a rollback: one span for the whole, and below it one for each phase.
//!
//! Ids are hashes of what they name, so that a trace that is sent twice is one trace, whoever sends it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize as _, Serialize};
use sha2::{Digest as _, Sha256};

use super::otlp::Attribute;
use crate::engine::entry::Timings;
use crate::sinks::event::Event;

/// Of a span: something within the process.
const KIND_INTERNAL: u8 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "they are called so in the format")]
pub(super) struct Span {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'static str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    status: Status,
}

#[derive(Serialize)]
struct Status {
    /// 1 is well, 2 is an error.
    code: u8,
}

/// The ids of a rollback's trace and of its outermost span.
pub(super) fn ids(cluster: &str, rollback: &str) -> (String, String) {
    (hex::<16>(&["trace", cluster, rollback]), hex::<8>(&["span", cluster, rollback]))
}

/// The first bytes of a hash over these, each with its length, so that no two lists are the same.
fn hex<const BYTES: usize>(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut digits = format!("{:x}", hash.finalize());
    digits.truncate(2 * BYTES);
    digits
}

/// The spans that a record ends: all of a rollback's when it recovered, since only then all are known.
pub(super) fn spans(event: &Event, attributes: impl Fn() -> Vec<Attribute>) -> Option<Vec<Span>> {
    let rollback = event.rollback.as_deref()?;
    let (trace_id, root) = ids(&event.cluster, rollback);
    let span = |name, id: String, parent: Option<&str>, from: Timestamp, to: Timestamp| Span {
        trace_id: trace_id.clone(),
        span_id: id,
        parent_span_id: parent.map(str::to_owned),
        name,
        kind: KIND_INTERNAL,
        start_time_unix_nano: from.as_nanosecond().to_string(),
        end_time_unix_nano: to.as_nanosecond().to_string(),
        attributes: if parent.is_none() { attributes() } else { Vec::new() },
        status: Status { code: 1 },
    };
    let timings = timings(event)?;
    let mut spans = Vec::new();
    let mut end = event.at;
    // Each phase begins where the one before it ends; only the last one's end is a time of its own.
    for (name, took) in [
        ("recovered", timings.recovered),
        ("live", timings.live),
        ("pushed", timings.pushed),
        ("detected", timings.detected),
    ] {
        let start = end.checked_sub(SignedDuration::try_from(took).ok()?).ok()?;
        let id = hex::<8>(&["span", &event.cluster, rollback, name]);
        spans.push(span(name, id, Some(&root), start, end));
        end = start;
    }
    spans.push(span("rollback", root.clone(), None, end, event.at));
    spans.reverse();
    Some(spans)
}

/// The durations of the phases, which only the record of a recovery has.
fn timings(event: &Event) -> Option<Timings> {
    Timings::deserialize(event.detail.get("timings")?).ok()
}
