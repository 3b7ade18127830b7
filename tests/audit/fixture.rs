//! A ledger of a few records, and the program that looks at it.

use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use lastgood::record::ledger::{Destination, Head, Link, Record, Recorder, Subject};
use serde_json::{Value, json};

/// The time of the first record.
pub(crate) const BEGIN: &str = "2026-01-31T23:59:00Z";

/// Runs `lastgood audit`; gives its exit code, standard output and standard error.
pub(crate) fn audit(args: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lastgood")).arg("audit").args(args).env_clear().output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs `lastgood audit verify --output json`; gives its exit code and what it found, as `code on: message`.
pub(crate) fn verify(args: &[&str]) -> (Option<i32>, Vec<String>) {
    let (code, out, err) = audit(&[&["verify", "--output", "json"], args].concat());
    let value: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let line = |finding: &Value| {
        let on = finding["on"].as_object().unwrap().values().next().unwrap();
        format!("{} {}: {}", word(&finding["code"]), word(on), word(&finding["message"]))
    };
    (code, value["findings"].as_array().unwrap().iter().map(line).collect())
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A record of the application `argocd/shop`, so many seconds after [`BEGIN`].
pub(crate) fn record(id: &str, seconds: i64, reason: &str, sentence: &str) -> Record {
    let begin: Timestamp = BEGIN.parse().unwrap();
    Record {
        id: id.into(),
        at: begin + jiff::SignedDuration::from_secs(seconds),
        reason: reason.into(),
        sentence: sentence.into(),
        warning: reason != "Healthy",
        cluster: "test".into(),
        application: Some(Subject {
            namespace: "argocd".into(),
            name: "shop".into(),
            uid: "8b5c".into(),
            project: Some("default".into()),
            destination: Some(Destination { cluster: "in-cluster".into(), namespace: "shop".into() }),
        }),
        rollback: None,
        by: Recorder {
            version: "0.1.0".into(),
            pod: Some("argocd/lastgood-0".into()),
            service_account: None,
        },
        policy: None,
        detail: json!({ "because": sentence }),
        evidence: None,
        inputs: None,
    }
}

/// Six records on two days.
pub(crate) fn records() -> Vec<Record> {
    let mut last = record("f-recovered", 400, "Recovered", "recovered with 2222222");
    last.evidence =
        Some(json!({ "signals": [{ "name": "error-rate", "limit": 0.05, "values": [0.01, 0.2] }] }));
    let mut pushed =
        record("d-pushed", 90, "RevertPushed", "pushed 2222222 to `main`, which reverts bad1bad");
    pushed.detail = json!({ "record": { "parts": [] }, "already": false });
    vec![
        record("a-healthy", 0, "Healthy", "1111111 is healthy after 5 min"),
        record("b-degraded", 30, "Degraded", "bad1bad is degraded after 30 s: error-rate is 0.2"),
        record("c-intended", 31, "RevertIntended", "reverting bad1bad to 1111111 because of error-rate"),
        pushed,
        record("e-live", 120, "RevertLive", "2222222 is live (synced)"),
        last,
    ]
}

/// The records as one chain, in this order.
pub(crate) fn chain(records: &[Record]) -> Vec<Link> {
    let mut head: Option<Head> = None;
    let link = |record: &Record| {
        let link = Link::after(head.as_ref(), record).unwrap();
        head = Some(link.head().unwrap());
        link
    };
    records.iter().map(link).collect()
}

/// Puts a link where it belongs.
pub(crate) fn write(folder: &Path, link: &Link) -> PathBuf {
    let file = folder.join(link.record().unwrap().path());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, link.bytes().unwrap()).unwrap();
    file
}

/// A folder with the chain of these records.
pub(crate) fn folder(records: &[Record]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for link in chain(records) {
        write(folder.path(), &link);
    }
    folder
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// The head as `--remembered` takes it.
pub(crate) fn head(records: &[Record]) -> String {
    let head = chain(records).last().unwrap().head().unwrap();
    format!("test {} {}", head.sequence, head.hash)
}
