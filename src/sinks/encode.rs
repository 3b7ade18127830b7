//! Events to requests, one file for each form. Pure: no clock, no secrets, no network.

mod azure;
mod cloudevents;
mod datadog;
mod elastic;
mod loki;
mod otlp;
mod splunk;
mod trace;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use serde::Serialize;

use super::event::Event;
use super::file::Format;
use super::read::Sink;

/// Bytes of events in one request: Azure Monitor takes 1 MB, the others more.
pub(super) const REQUEST_BYTES_MAX: usize = 800 * 1024;

/// One POST, without what proves who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Where to.
    pub(super) url: Url,
    /// The headers that belong to the form.
    pub(super) headers: HeaderMap,
    /// The body.
    pub(super) body: Vec<u8>,
    /// The id of its one event, where it can be signed.
    pub(super) id: Option<String>,
}

/// Why an event could not be put into a form.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    /// JSON could not be written.
    #[error("it cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A text cannot be sent in a header.
    #[error("`{0}` cannot be sent in a header")]
    Header(String),
    /// The sink's URL has no host.
    #[error("the sink's URL cannot have a path")]
    Url,
}

/// How many events one request of this form may hold.
pub(super) fn events_max(format: Format) -> usize {
    match format {
        Format::CloudEvents | Format::CloudEventsBinary | Format::Json => 1,
        Format::Sentinel => 100,
        // Datadog takes 1,000 at most.
        Format::Splunk | Format::Elastic | Format::Datadog | Format::Loki | Format::Otlp => 250,
    }
}

/// The requests by which a sink is told of these events: all must be taken, in this order. There is at least one event, and
/// no more than [`events_max`].
pub(super) fn requests(sink: &Sink, events: &[&Event]) -> Result<Vec<Request>, EncodeError> {
    match sink.format {
        Format::CloudEvents => events.iter().map(|event| cloudevents::structured(sink, event)).collect(),
        Format::CloudEventsBinary => events.iter().map(|event| cloudevents::binary(sink, event)).collect(),
        Format::Json => events.iter().map(|event| json(sink, event)).collect(),
        Format::Splunk => Ok(vec![splunk::request(sink, events)?]),
        Format::Elastic => Ok(vec![elastic::request(sink, events)?]),
        Format::Datadog => Ok(vec![datadog::request(sink, events)?]),
        Format::Sentinel => Ok(vec![azure::request(sink, events)?]),
        Format::Loki => Ok(vec![loki::request(sink, events)?]),
        Format::Otlp => otlp::requests(sink, events),
    }
}

/// The event as it is.
fn json(sink: &Sink, event: &Event) -> Result<Request, EncodeError> {
    let mut request = post(sink.url.clone(), "application/json", serde_json::to_vec(event)?);
    request.id = Some(event.id.clone());
    Ok(request)
}

fn post(url: Url, content_type: &'static str, body: Vec<u8>) -> Request {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    Request { url, headers, body, id: None }
}

/// The sink's URL with these below it.
fn below(sink: &Sink, path: &[&str]) -> Result<Url, EncodeError> {
    let mut url = sink.url.clone();
    url.path_segments_mut().map_err(|()| EncodeError::Url)?.pop_if_empty().extend(path);
    Ok(url)
}

/// One JSON document after the other, each with a line break.
fn lines<T: Serialize>(documents: impl IntoIterator<Item = T>) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = Vec::new();
    for document in documents {
        serde_json::to_writer(&mut body, &document)?;
        body.push(b'\n');
    }
    Ok(body)
}

fn header(name: &'static str, value: &str) -> Result<(HeaderName, HeaderValue), EncodeError> {
    let value = HeaderValue::from_str(value).map_err(|_| EncodeError::Header(value.to_owned()))?;
    Ok((HeaderName::from_static(name), value))
}

#[cfg(test)]
mod tests;
