//! Splunk's HTTP Event Collector: "Format events for HTTP Event Collector" in Splunk's manual "Getting Data In".

use serde::Serialize;

use super::{EncodeError, Request, below, lines, post};
use crate::sinks::event::Event;
use crate::sinks::read::Sink;

#[derive(Serialize)]
struct Hec<'a> {
    /// Seconds since 1970, with milliseconds.
    time: f64,
    source: &'static str,
    sourcetype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    event: &'a Event,
    fields: Fields<'a>,
}

/// What is indexed, to be searched for without reading the event.
#[derive(Serialize)]
struct Fields<'a> {
    id: &'a str,
    reason: &'a str,
    severity: &'static str,
    cluster: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<String>,
}

pub(super) fn request(sink: &Sink, events: &[&Event]) -> Result<Request, EncodeError> {
    let documents = events.iter().copied().map(|event| Hec {
        time: seconds(event),
        source: "lastgood",
        sourcetype: "lastgood:record",
        index: sink.index.as_deref(),
        event,
        fields: Fields {
            id: &event.id,
            reason: &event.reason,
            severity: event.level(),
            cluster: &event.cluster,
            application: event.subject(),
        },
    });
    let url = below(sink, &["services", "collector", "event"])?;
    Ok(post(url, "application/json", lines(documents)?))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age have 13 digits of the 15 there are")]
fn seconds(event: &Event) -> f64 {
    event.at.as_millisecond() as f64 / 1000.0
}
