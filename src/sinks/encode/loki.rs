//! Grafana Loki's push API: <https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{EncodeError, Request, below, post};
use crate::sinks::event::Event;
use crate::sinks::read::Sink;

#[derive(Serialize)]
struct Push<'a> {
    streams: Vec<Stream<'a>>,
}

#[derive(Serialize)]
struct Stream<'a> {
    stream: Labels<'a>,
    /// Nanoseconds since 1970 as text, and the line.
    values: Vec<(String, String)>,
}

/// Few, each with few values: every combination is a stream of its own. What is searched for stands in the line.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Labels<'a> {
    service_name: &'static str,
    cluster: &'a str,
    level: &'static str,
}

pub(super) fn request(sink: &Sink, events: &[&Event]) -> Result<Request, EncodeError> {
    let mut streams: BTreeMap<Labels<'_>, Vec<(String, String)>> = BTreeMap::new();
    for &event in events {
        let labels = Labels { service_name: "lastgood", cluster: &event.cluster, level: event.level() };
        let line = (event.at.as_nanosecond().to_string(), serde_json::to_string(event)?);
        streams.entry(labels).or_default().push(line);
    }
    let streams = streams.into_iter().map(|(stream, values)| Stream { stream, values }).collect();
    let url = below(sink, &["loki", "api", "v1", "push"])?;
    Ok(post(url, "application/json", serde_json::to_vec(&Push { streams })?))
}
