//! Datadog's logs: "Send logs" of its API, version 2. It takes 1,000 logs and 5 MB a request, and logs up to 18 hours old.

use serde::Serialize;

use super::{EncodeError, Request, below, post};
use crate::sinks::event::Event;
use crate::sinks::read::Sink;

#[derive(Serialize)]
struct Log<'a> {
    ddsource: &'static str,
    ddtags: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    service: &'static str,
    status: &'static str,
    message: &'a str,
    timestamp: String,
    lastgood: &'a Event,
}

pub(super) fn request(sink: &Sink, events: &[&Event]) -> Result<Request, EncodeError> {
    let logs: Vec<Log<'_>> = events.iter().copied().map(log).collect();
    Ok(post(below(sink, &["api", "v2", "logs"])?, "application/json", serde_json::to_vec(&logs)?))
}

fn log(event: &Event) -> Log<'_> {
    // A comma would end a tag.
    let tag = |name: &str, value: &str| format!("{name}:{}", value.replace(',', "_"));
    let mut tags = vec![tag("cluster", &event.cluster), tag("reason", &event.reason)];
    tags.extend(event.subject().map(|app| tag("application", &app)));
    Log {
        ddsource: "lastgood",
        ddtags: tags.join(","),
        hostname: event.by.pod.as_deref(),
        service: "lastgood",
        status: event.level(),
        message: &event.sentence,
        timestamp: event.at.to_string(),
        lastgood: event,
    }
}
