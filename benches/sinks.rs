//! How many records a second go out to one sink on loopback, and how late they are at a thousand a second.
//!
//! `cargo bench --bench sinks`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and may fail"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use jiff::Timestamp;
use lastgood::record::ledger::{Head, Ledger, LedgerError, Link, Record, Recorder, Subject};
use lastgood::record::state::files::FileStore;
use lastgood::sinks::{Config, Pace, Sinks, read};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Records of one run without a pause.
const RECORDS: usize = 20_000;

/// Records a second, and for how many seconds.
const PACE: (usize, usize) = (1_000, 10);

/// Applications that they are about.
const APPLICATIONS: usize = 50;

/// A ledger in memory: what is measured is not its storage.
#[derive(Default)]
struct Memory(Mutex<Vec<Link>>);

impl Ledger for Memory {
    fn place(&self) -> String {
        "memory".into()
    }

    fn append(&self, records: &[Record]) -> Result<Option<Head>, LedgerError> {
        let mut links = self.0.lock().unwrap();
        for record in records {
            let head =
                links.last().map(|link| Head { sequence: link.sequence, hash: record.hash().unwrap() });
            links.push(Link::after(head.as_ref(), record).unwrap());
        }
        Ok(None)
    }

    fn after(&self, sequence: u64, most: usize) -> Result<Vec<Link>, LedgerError> {
        let links = self.0.lock().unwrap();
        Ok(links.iter().skip(usize::try_from(sequence).unwrap()).take(most).cloned().collect())
    }
}

fn record(n: usize) -> Record {
    Record {
        id: format!("r{n}."),
        at: Timestamp::now(),
        reason: "RevertPushed".into(),
        sentence: "pushed 47af13f6 to `main`, which reverts d36f1ce2, 107 ms after the verdict".into(),
        warning: true,
        cluster: "prod".into(),
        application: Some(Subject {
            namespace: "argocd".into(),
            name: format!("app-{}", n % APPLICATIONS),
            uid: "u1".into(),
            project: Some("default".into()),
            destination: None,
        }),
        rollback: Some(format!("argocd/app-{}@d36f1ce2cf28", n % APPLICATIONS)),
        by: Recorder { version: "0.1.0".into(), ..Recorder::default() },
        policy: None,
        detail: json!({ "files": vec!["app/web.yaml"; 20], "culprits": [{ "subject": "Release crash" }] }),
        evidence: Some(json!({ "signals": vec![json!({ "query": "up", "values": vec![0.5; 40] }); 3] })),
        inputs: None,
    }
}

/// When each record came first.
type Arrived = Arc<(Mutex<HashMap<usize, Instant>>, watch::Sender<usize>)>;

async fn take(State(arrived): State<Arrived>, body: Bytes) -> &'static str {
    let text = std::str::from_utf8(&body).unwrap();
    let now = Instant::now();
    let mut known = arrived.0.lock().unwrap();
    // Whatever the form: ids are `r123.`, and nothing else in a record looks so.
    for found in text.split("\"r").skip(1) {
        if let Some(Ok(n)) = found.split_once('.').map(|(n, _)| n.parse()) {
            known.entry(n).or_insert(now);
        }
    }
    let count = known.len();
    drop(known);
    arrived.1.send_replace(count);
    r#"{"items":[]}"#
}

async fn run(format: &str, paced: bool) {
    let arrived = Arrived::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(take).with_state(Arc::clone(&arrived));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let yaml = format!(
        "apiVersion: lastgood.dev/v1alpha1\nsinks: [{{ name: a, url: \"{url}\", format: {format} }}]"
    );
    let folder = tempfile::tempdir().unwrap();
    let memory = Arc::new(Memory::default());
    let ledger: Arc<dyn Ledger> = memory.clone();
    let ledgers = watch::Sender::new(vec![ledger]);
    let all = if paced { PACE.0 * PACE.1 } else { RECORDS };
    let mut made: Vec<Instant> = Vec::new();
    if !paced {
        let records: Vec<Record> = (0..all).map(record).collect();
        memory.append(&records).unwrap();
    }
    let sinks = Sinks::start(Config {
        sinks: read("sinks", yaml.as_bytes()).unwrap(),
        ledgers: ledgers.subscribe(),
        store: Arc::new(FileStore::open(folder.path()).unwrap()),
        client: None,
        namespace: "argocd".into(),
        pace: Pace::default(),
    });
    let start = Instant::now();
    if paced {
        let slice = PACE.0 / 100;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while made.len() < all {
            ticks.tick().await;
            let records: Vec<Record> = (made.len()..made.len() + slice).map(record).collect();
            made.extend(std::iter::repeat_n(Instant::now(), slice));
            memory.append(&records).unwrap();
            ledgers.send_modify(|_| {});
        }
    }
    arrived.1.subscribe().wait_for(|count| *count >= all).await.unwrap();
    let took = start.elapsed();
    if paced {
        let known = arrived.0.lock().unwrap().clone();
        let mut late: Vec<Duration> =
            made.iter().enumerate().map(|(n, made)| known[&n].saturating_duration_since(*made)).collect();
        late.sort();
        let at = |share: usize| late[(late.len() - 1) * share / 100].as_secs_f64() * 1e3;
        println!(
            "{format:<20} {:>6} a second for {} s: late by {:.1} ms (median), {:.1} ms (99 %), {:.1} ms (most)",
            PACE.0,
            PACE.1,
            at(50),
            at(99),
            at(100)
        );
    } else {
        let rate = f64::from(u32::try_from(all).unwrap()) / took.as_secs_f64();
        println!("{format:<20} {rate:>6.0} a second ({all} in {:.2} s)", took.as_secs_f64());
    }
    sinks.stop().await;
    server.abort();
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for format in ["cloudevents", "cloudevents-binary", "splunk", "elastic", "loki", "otlp"] {
        runtime.block_on(run(format, false));
    }
    for format in ["cloudevents", "splunk"] {
        runtime.block_on(run(format, true));
    }
}
