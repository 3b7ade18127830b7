//! The form `otlp` at a real OpenTelemetry Collector, which is killed, and the daemon with it.
//!
//! `cargo xtask test --collector` builds the collector first.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[allow(dead_code, reason = "the cluster's tests use the rest")]
#[path = "cluster/rundir.rs"]
mod rundir;
#[allow(dead_code, reason = "the other tests of sinks use the rest")]
#[path = "support/sinks.rs"]
mod stage;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lastgood::record::ledger::{FolderLedger, Ledger, Record};
use lastgood::record::state::files::FileStore;
use lastgood::sinks::{Config, Pace, Sinks, read};
use rundir::Parts;
use serde_json::json;
use stage::record;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Prints all that comes, one pipeline for logs and one for traces.
fn config(port: u16) -> String {
    format!(
        "receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: \"127.0.0.1:{port}\" }} }} }} }}
exporters: {{ debug: {{ verbosity: detailed, use_internal_logger: false }} }}
service:
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: error }} }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [debug] }}
    traces: {{ receivers: [otlp], exporters: [debug] }}
"
    )
}

/// Starts the collector; it dies with what is returned.
fn collector(folder: &Path, output: &Path) -> Child {
    let program: PathBuf = Parts::from_env().and_then(|parts| parts.program("otelcol", "otelcol")).unwrap();
    let output = std::fs::File::options().create(true).append(true).open(output).unwrap();
    let mut command = Command::new(program);
    command.arg("--config").arg(folder.join("otelcol.yaml")).kill_on_drop(true);
    command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
}

/// Waits until the collector has printed all of these.
async fn until(output: &Path, wanted: &[&str]) -> String {
    let wait = async {
        loop {
            let text = std::fs::read_to_string(output).unwrap_or_default();
            if wanted.iter().all(|wanted| text.contains(wanted)) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(60), wait).await;
    seen.unwrap_or_else(|_| panic!("{wanted:?}: {}", std::fs::read_to_string(output).unwrap()))
}

/// How a detailed record shows an id.
fn shown(id: &str) -> String {
    format!("lastgood.record.id: Str({id})")
}

/// A rollback's record.
fn of_rollback(id: &str, reason: &str) -> Record {
    let mut record = record(id, "shop");
    record.reason = reason.into();
    record.rollback = Some("argocd/shop@d36f1ce2cf28".into());
    if reason == "Recovered" {
        let timings = json!({ "detected": 60, "pushed": 1, "live": 10, "recovered": 30 });
        record.detail = json!({ "timings": timings });
    }
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_gets_every_record_and_a_trace_for_the_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let (output, port) = (folder.path().join("output"), free_port());
    std::fs::write(folder.path().join("otelcol.yaml"), config(port)).unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(FolderLedger::open(folder.path().join("ledger")).unwrap());
    let ledgers = watch::Sender::new(vec![Arc::clone(&ledger)]);
    let store = Arc::new(FileStore::open(folder.path().join("state")).unwrap());
    let yaml = format!(
        "apiVersion: lastgood.dev/v1alpha1\nsinks: [{{ name: otel, url: \"http://127.0.0.1:{port}\", format: otlp }}]"
    );
    let daemon = || {
        let (poll, quick) = (Duration::from_millis(200), Duration::from_millis(20));
        Sinks::start(Config {
            sinks: read("sinks", yaml.as_bytes()).unwrap(),
            ledgers: ledgers.subscribe(),
            store: store.clone(),
            client: None,
            namespace: "argocd".into(),
            pace: Pace { poll, look: poll, save: quick, pause: quick },
        })
    };

    // The daemon first: the collector comes up under its tries.
    let first = daemon();
    ledger.append(&[of_rollback("r1", "RevertPushed"), of_rollback("r2", "Recovered")]).unwrap();
    let mut running = collector(folder.path(), &output);
    let text = until(&output, &[&shown("r1"), &shown("r2"), "Name           : recovered"]).await;
    for span in ["rollback", "detected", "pushed", "live", "recovered"] {
        assert!(text.contains(&format!("Name           : {span}\n")), "{span}: {text}");
    }
    let ids = |label: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim).filter_map(|line| line.strip_prefix(label));
        lines.map(|rest| rest.trim_start_matches([' ', ':']).to_owned()).collect()
    };
    let mut traces = ids("Trace ID");
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 1, "logs and spans are of one trace: {text}");

    running.kill().await.unwrap();
    ledger.append(&[record("r3", "a"), record("r4", "b"), record("r5", "a")]).unwrap();
    drop(first);
    let second = daemon();
    let _running = collector(folder.path(), &output);
    ledger.append(&[record("r6", "b")]).unwrap();
    let text = until(&output, &["r3", "r4", "r5", "r6"].map(shown).each_ref().map(String::as_str)).await;
    let at = |id: &str| text.find(&shown(id)).unwrap();
    assert!(at("r3") < at("r5") && at("r4") < at("r6"), "{text}");
    second.stop().await;
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
