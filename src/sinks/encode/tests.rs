use serde_json::{Value, json};

use super::*;
use crate::sinks::fixture::{event, record, recovered};
use crate::sinks::read::read;

const ALL: [Format; 9] = [
    Format::CloudEvents,
    Format::CloudEventsBinary,
    Format::Json,
    Format::Splunk,
    Format::Elastic,
    Format::Datadog,
    Format::Sentinel,
    Format::Loki,
    Format::Otlp,
];

fn sink(format: Format) -> Sink {
    let more = if format == Format::Sentinel {
        "rule: dcr-1, stream: Custom-a, credentials: { secret: a }, oauth: { tokenUrl: \"https://t\" }"
    } else {
        "timeout: 15s"
    };
    let format = String::from(format);
    let yaml = format!(
        "apiVersion: lastgood.dev/v1alpha1\nsinks: [{{ name: a, url: \"https://a.example/base/\", format: {format}, {more} }}]"
    );
    read("s", yaml.as_bytes()).unwrap().remove(0)
}

fn held() -> Event {
    let mut held = record("h1", "HoldBegan", Some("shop"));
    held.evidence = Some(json!({ "signals": ["up"] }));
    event(held)
}

fn sent(format: Format, events: &[&Event]) -> Vec<Request> {
    requests(&sink(format), events).unwrap()
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn documents(request: &Request) -> Vec<Value> {
    serde_json::Deserializer::from_slice(&request.body).into_iter().map(Result::unwrap).collect()
}

#[test]
fn each_form_has_its_own_address() {
    for (format, expected) in [
        (Format::CloudEvents, "https://a.example/base/"),
        (Format::CloudEventsBinary, "https://a.example/base/"),
        (Format::Json, "https://a.example/base/"),
        (Format::Splunk, "https://a.example/base/services/collector/event"),
        (Format::Elastic, "https://a.example/base/_bulk"),
        (Format::Datadog, "https://a.example/base/api/v2/logs"),
        (
            Format::Sentinel,
            "https://a.example/base/dataCollectionRules/dcr-1/streams/Custom-a?api-version=2023-01-01",
        ),
        (Format::Loki, "https://a.example/base/loki/api/v1/push"),
        (Format::Otlp, "https://a.example/base/v1/logs"),
    ] {
        assert_eq!(sent(format, &[&held()])[0].url.as_str(), expected);
    }
}

#[test]
fn cloudevents_carry_the_event_in_both_modes() {
    let event = held();
    let structured = &sent(Format::CloudEvents, &[&event])[0];
    assert_eq!(structured.headers[CONTENT_TYPE], "application/cloudevents+json; charset=utf-8");
    let told = body(structured);
    let data = serde_json::to_value(&event).unwrap();
    assert_eq!(
        told,
        json!({
            "specversion": "1.0",
            "id": "h1",
            "source": "/lastgood/prod",
            "type": "dev.lastgood.HoldBegan",
            "subject": "argocd/shop",
            "time": "2026-01-31T12:00:00.25Z",
            "datacontenttype": "application/json",
            "data": data,
        })
    );
    let binary = &sent(Format::CloudEventsBinary, &[&event])[0];
    assert_eq!(binary.headers[CONTENT_TYPE], "application/json");
    for (attribute, value) in told.as_object().unwrap() {
        match attribute.as_str() {
            "data" => assert_eq!(body(binary), *value),
            // It is the content type, and must not be there twice.
            "datacontenttype" => assert!(!binary.headers.contains_key("ce-datacontenttype")),
            name => assert_eq!(binary.headers[format!("ce-{name}")], value.as_str().unwrap()),
        }
    }
    assert_eq!((structured.id.as_deref(), binary.id.as_deref()), (Some("h1"), Some("h1")));
}

#[test]
fn splunk_gets_one_object_after_the_other() {
    let told = documents(&sent(Format::Splunk, &[&held(), &event(recovered())])[0]);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["time"], json!(1_769_860_800.25));
    assert_eq!(told[0]["event"], serde_json::to_value(held()).unwrap());
    assert_eq!(told[1]["fields"]["reason"], "Recovered");
    assert_eq!(told[0].get("index"), None);
}

#[test]
fn elastic_creates_each_document_under_the_records_id() {
    let told = documents(&sent(Format::Elastic, &[&held(), &event(recovered())])[0]);
    assert_eq!(told[0], json!({ "create": { "_index": "logs-lastgood-default", "_id": "h1" } }));
    assert_eq!(told[1]["event"]["action"], "HoldBegan");
    assert_eq!(told[1]["lastgood"]["evidence"], r#"{"signals":["up"]}"#);
    assert_eq!(told[2]["create"]["_id"], "r1");
    assert_eq!(told[3]["@timestamp"], "2026-01-31T12:00:00.25Z");
}

#[test]
fn datadog_and_sentinel_get_a_list() {
    let datadog = body(&sent(Format::Datadog, &[&held(), &event(recovered())])[0]);
    assert_eq!(datadog[0]["ddtags"], "cluster:prod,reason:HoldBegan,application:argocd/shop");
    assert_eq!((&datadog[0]["status"], &datadog[1]["status"]), (&json!("warning"), &json!("info")));
    let sentinel = body(&sent(Format::Sentinel, &[&held(), &event(recovered())])[0]);
    assert_eq!(sentinel[0]["TimeGenerated"], "2026-01-31T12:00:00.25Z");
    assert_eq!(sentinel[1]["RecordId"], "r1");
    assert_eq!(sentinel[1]["Policy"], "web");
}

#[test]
fn loki_gets_a_stream_for_each_set_of_labels() {
    let told = body(&sent(Format::Loki, &[&held(), &event(recovered()), &held()])[0]);
    let lines = |i: usize| told["streams"][i]["values"].as_array().unwrap().len();
    assert_eq!((lines(0), lines(1)), (1, 2));
    assert_eq!(
        told["streams"][1]["stream"],
        json!({ "service_name": "lastgood", "cluster": "prod", "level": "warning" })
    );
    assert_eq!(told["streams"][1]["values"][0][0], "1769860800250000000");
}

#[test]
fn a_rollback_that_helped_is_a_trace_of_its_phases() {
    assert_eq!(sent(Format::Otlp, &[&held()]).len(), 1, "no trace without a rollback");
    let [logs, traces] = &sent(Format::Otlp, &[&held(), &event(recovered())])[..] else { panic!() };
    let log = body(logs)["resourceLogs"][1]["scopeLogs"][0]["logRecords"][0].clone();
    assert_eq!((&log["severityNumber"], &log["eventName"]), (&json!(9), &json!("dev.lastgood.Recovered")));
    assert_eq!(traces.url.path(), "/base/v1/traces");
    let told = body(traces)["resourceSpans"][0]["scopeSpans"][0]["spans"].clone();
    let spans = told.as_array().unwrap();
    let text = |span: &Value, name: &str| span[name].as_str().unwrap().to_owned();
    let seconds =
        |span: &Value, name| text(span, name).parse::<i64>().unwrap() / 100_000_000 - 17_698_608_002;
    let shown: Vec<_> = spans
        .iter()
        .map(|s| (text(s, "name"), seconds(s, "startTimeUnixNano"), seconds(s, "endTimeUnixNano")))
        .collect();
    // In tenths of a second before the record's own time.
    let expected = [
        ("rollback", -1030, 0),
        ("detected", -1030, -425),
        ("pushed", -425, -410),
        ("live", -410, -305),
        ("recovered", -305, 0),
    ];
    assert_eq!(shown, expected.map(|(name, from, to)| (name.to_owned(), from, to)));
    let root = text(&spans[0], "spanId");
    assert!(spans[1..].iter().all(|span| text(span, "parentSpanId") == root));
    assert!(spans.iter().all(|span| span["traceId"] == log["traceId"]) && log["spanId"] == root.as_str());
    assert_eq!((text(&spans[0], "traceId").len(), root.len()), (32, 16));
    let again = &sent(Format::Otlp, &[&event(recovered())])[1];
    assert_eq!(
        body(again)["resourceSpans"][0]["scopeSpans"][0]["spans"],
        told,
        "told twice, it is one trace"
    );
}

/// Secrets in whatever people or servers wrote, and each form that goes out.
#[test]
fn no_form_lets_a_secret_out() {
    let canary = |what: &str| format!("CANARY{what}0123456789");
    let mut record = recovered();
    record.sentence = format!("cannot fetch https://me:{}@git.example/a", canary("sentence"));
    record.detail = json!({
        "error": format!("GET https://a.example/x?access_token={} and Authorization: Bearer {}", canary("query"), canary("bearer")),
        "password": canary("member"),
        "timings": record.detail["timings"],
        "deep": [[{ "note": format!("used ghp_{}", canary("token")) }]],
    });
    record.evidence = Some(json!({
        "key": format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", canary("key")),
    }));
    record.inputs = Some(json!(canary("inputs")));
    record.policy.as_mut().unwrap().text = Some(canary("policy"));
    let place = format!("lastgood/ledger of https://me:{}@git.example/a", canary("place"));
    let event = Event::of(&crate::sinks::fixture::link(1, &record), record, &place).unwrap();
    for format in ALL {
        for request in sent(format, &[&event]) {
            let all =
                format!("{:?} {:?} {}", request.url, request.headers, String::from_utf8_lossy(&request.body));
            assert!(all.contains("git.example"), "{format:?}: the rest is told: {all}");
            assert!(!all.contains("CANARY"), "{format:?}: {all}");
        }
    }
}
