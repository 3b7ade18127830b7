//! `CloudEvents` 1.0 over HTTP: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.

use serde::Serialize;

use super::{EncodeError, Request, header, post};
use crate::sinks::event::Event;
use crate::sinks::read::Sink;

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    type_: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    datacontenttype: &'static str,
    data: &'a Event,
}

fn attributes(event: &Event) -> CloudEvent<'_> {
    CloudEvent {
        specversion: "1.0",
        id: &event.id,
        source: format!("/lastgood/{}", escaped(&event.cluster)),
        type_: format!("dev.lastgood.{}", event.reason),
        subject: event.subject(),
        time: event.at.to_string(),
        datacontenttype: "application/json",
        data: event,
    }
}

/// All of it in the body.
pub(super) fn structured(sink: &Sink, event: &Event) -> Result<Request, EncodeError> {
    let body = serde_json::to_vec(&attributes(event))?;
    let mut request = post(sink.url.clone(), "application/cloudevents+json; charset=utf-8", body);
    request.id = Some(event.id.clone());
    Ok(request)
}

/// The attributes in headers.
pub(super) fn binary(sink: &Sink, event: &Event) -> Result<Request, EncodeError> {
    let CloudEvent { specversion, id, source, type_, subject, time, datacontenttype, data } =
        attributes(event);
    let mut request = post(sink.url.clone(), datacontenttype, serde_json::to_vec(data)?);
    request.id = Some(event.id.clone());
    for (name, value) in [
        ("ce-specversion", Some(specversion)),
        ("ce-id", Some(id)),
        ("ce-source", Some(source.as_str())),
        ("ce-type", Some(type_.as_str())),
        ("ce-subject", subject.as_deref()),
        ("ce-time", Some(time.as_str())),
    ] {
        if let Some(value) = value {
            request.headers.extend([header(name, &escaped(value))?]);
        }
    }
    Ok(request)
}

/// What the binding has percent-encoded in headers (3.1.3.2): blanks, `"`, `%`, and all but ASCII that can be seen. It
/// makes a path segment of a URL of what is no `/`, `?` or `#`, too.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => out.push_str(&format!("%{byte:02X}")),
            0x21..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the binding, 3.1.3.2.
    #[test]
    fn header_values_are_encoded_as_the_binding_shows() {
        assert_eq!(escaped("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(escaped("a\"b%c\n"), "a%22b%25c%0A");
    }
}
