//! What a sink's answer means. Pure.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::Value;

use super::file::Format;

/// Characters of an answer that are shown.
const SHOWN_MAX: usize = 200;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The sink has the records.
    Delivered,
    /// The sink works, and does not take what was sent.
    Refused {
        /// Its words.
        why: String,
        /// Whether it could take the same another time.
        forever: bool,
    },
    /// The sink does not work for us now, whatever is sent.
    Unavailable {
        /// What happened.
        why: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
}

/// Reads an answer.
pub(super) fn outcome(
    format: Format,
    status: StatusCode,
    retry_after: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Outcome {
    let why = || format!("it answered {status}{}", shown(body));
    match status.as_u16() {
        200..=299 => accepted(format, body),
        // What these refuse is what was sent, and not who sends it, or where to.
        413 => Outcome::Refused { why: why(), forever: true },
        400 | 422 => Outcome::Refused { why: why(), forever: false },
        300..=399 => {
            let why = format!(
                "it answered {status}: redirects are not followed, since credentials are for one server; give the new URL"
            );
            Outcome::Unavailable { why, retry_after: None }
        }
        _ => Outcome::Unavailable {
            why: why(),
            retry_after: retry_after.and_then(|text| self::retry_after(text, now)),
        },
    }
}

/// Good answers that are none.
fn accepted(format: Format, body: &[u8]) -> Outcome {
    let answer = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    match format {
        Format::Elastic => bulk(&answer()),
        // "The client MUST NOT retry the request when it receives a partial success response" (OTLP).
        Format::Otlp => match rejected(&answer()) {
            Some(why) => Outcome::Refused { why, forever: true },
            None => Outcome::Delivered,
        },
        Format::CloudEvents
        | Format::CloudEventsBinary
        | Format::Json
        | Format::Splunk
        | Format::Datadog
        | Format::Sentinel
        | Format::Loki => Outcome::Delivered,
    }
}

/// Each document's own status: 409 is one that is there already.
fn bulk(answer: &Value) -> Outcome {
    let failed = |status: u64| !(200..300).contains(&status) && status != 409;
    let items = answer.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut all = items.iter().filter_map(|item| item.as_object()?.values().next());
    let Some(first) = all.find(|item| failed(item.get("status").and_then(Value::as_u64).unwrap_or(0))) else {
        // A proxy's page is no answer of the bulk API.
        return if answer.get("items").is_some() {
            Outcome::Delivered
        } else {
            Outcome::Unavailable {
                why: "its answer is not one of the bulk API".to_owned(),
                retry_after: None,
            }
        };
    };
    let status = first.get("status").and_then(Value::as_u64).unwrap_or(0);
    let error = first.get("error").map(ToString::to_string).unwrap_or_default();
    let why = format!("a document was answered {status}{}", shown(error.as_bytes()));
    if status == 429 || status >= 500 || status == 401 || status == 403 || status == 404 {
        Outcome::Unavailable { why, retry_after: None }
    } else {
        Outcome::Refused { why, forever: false }
    }
}

fn rejected(answer: &Value) -> Option<String> {
    let partial = answer.get("partialSuccess")?;
    let count = ["rejectedLogRecords", "rejectedSpans"].iter().find_map(|name| {
        let count = partial.get(name)?;
        // A 64-bit number is text in Protobuf's JSON.
        count.as_u64().or_else(|| count.as_str()?.parse().ok()).filter(|count| *count > 0)
    })?;
    let message = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Some(format!("it rejected {count}{}", shown(message.as_bytes())))
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// The beginning of an answer, behind a colon, if it is text.
fn shown(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN_MAX)
        .collect();
    if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) }
}

#[cfg(test)]
mod tests {
    use super::Format::{CloudEvents, Elastic, Loki, Otlp, Splunk};
    use super::*;

    fn now() -> Timestamp {
        "2026-01-31T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_answer_says_whether_the_sink_or_the_record_is_at_fault() {
        let check = |format, status: u16, body: &str, expected: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            let said = match outcome(format, status, None, body.as_bytes(), now()) {
                Outcome::Delivered => "delivered".to_owned(),
                Outcome::Refused { why, forever: false } => format!("refused: {why}"),
                Outcome::Refused { why, forever: true } => format!("never: {why}"),
                Outcome::Unavailable { why, .. } => format!("later: {why}"),
            };
            assert!(said.starts_with(expected), "{said}");
        };
        check(CloudEvents, 202, "", "delivered");
        check(Loki, 204, "", "delivered");
        check(Splunk, 200, r#"{"text":"Success","code":0}"#, "delivered");
        check(
            Splunk,
            400,
            r#"{"text":"Invalid data format","code":6}"#,
            "refused: it answered 400 Bad Request: {\"text\"",
        );
        check(CloudEvents, 413, "", "never: it answered 413 Payload Too Large");
        check(CloudEvents, 422, "no\nsuch", "refused: it answered 422 Unprocessable Entity: no such");
        check(CloudEvents, 401, "", "later: it answered 401");
        check(CloudEvents, 404, "", "later");
        check(CloudEvents, 410, "", "later");
        check(CloudEvents, 429, "", "later");
        check(CloudEvents, 503, "<html>", "later: it answered 503 Service Unavailable: <html>");
        check(CloudEvents, 307, "", "later: it answered 307 Temporary Redirect: redirects are not followed");
        let bulk = |status: u16| {
            format!(
                r#"{{"errors":true,"items":[{{"create":{{"status":201}}}},{{"create":{{"status":{status},"error":{{"type":"x"}}}}}}]}}"#
            )
        };
        check(Elastic, 200, &bulk(201), "delivered");
        check(Elastic, 200, &bulk(409), "delivered");
        check(Elastic, 200, &bulk(400), "refused: a document was answered 400: {\"type\":\"x\"}");
        check(Elastic, 200, &bulk(429), "later");
        check(Elastic, 200, "<html>log in</html>", "later: its answer is not one of the bulk API");
        check(Otlp, 200, "{}", "delivered");
        check(Otlp, 200, "", "delivered");
        check(Otlp, 200, r#"{"partialSuccess":{}}"#, "delivered");
        check(
            Otlp,
            200,
            r#"{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"hint"}}"#,
            "delivered",
        );
        check(
            Otlp,
            200,
            r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"no"}}"#,
            "never: it rejected 3: no",
        );
    }

    #[test]
    fn a_sink_says_how_long_it_wants_to_be_left_alone() {
        let check = |text, expected| assert_eq!(retry_after(text, now()), expected, "{text}");
        check("120", Some(Duration::from_secs(120)));
        check("Sat, 31 Jan 2026 12:00:30 GMT", Some(Duration::from_secs(30)));
        check("Sat, 31 Jan 2026 11:00:00 GMT", Some(Duration::ZERO));
        check("soon", None);
    }
}
