//! Sinks over real HTTP: a server that fails in every way, and a daemon that is killed at any time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod formats;
mod server;
#[path = "../support/sinks.rs"]
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lastgood::record::ledger::{FolderLedger, Ledger, Record};
use lastgood::record::state::files::FileStore;
use lastgood::sinks::keep::{Keeper, Kept};
use lastgood::sinks::{Config, Pace, Sinks, read};
use tempfile::TempDir;
use tokio::sync::watch;

use self::server::{Answer, Came, Server};
use self::stage::record;

/// A ledger and a place for cursors that outlive the daemon.
struct Stage {
    folder: TempDir,
    ledger: Arc<dyn Ledger>,
    ledgers: watch::Sender<Vec<Arc<dyn Ledger>>>,
    server: Server,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(FolderLedger::open(folder.path().join("ledger")).unwrap());
        let ledgers = watch::Sender::new(vec![Arc::clone(&ledger)]);
        Self { folder, ledger, ledgers, server: Server::start().await }
    }

    fn store(&self) -> Arc<FileStore> {
        Arc::new(FileStore::open(self.folder.path().join("state")).unwrap())
    }

    /// Starts a daemon's sinks; `more` are further lines of the one sink.
    fn daemon(&self, format: &str, more: &str) -> Sinks {
        let yaml = format!(
            "apiVersion: lastgood.dev/v1alpha1\nsinks:\n  - name: siem\n    url: {}\n    format: {format}\n    timeout: 1s\n{more}",
            self.server.url()
        );
        let sinks = read("sinks", yaml.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let (poll, quick) = (Duration::from_millis(100), Duration::from_millis(10));
        Sinks::start(Config {
            sinks,
            ledgers: self.ledgers.subscribe(),
            store: self.store(),
            client: None,
            namespace: "argocd".into(),
            pace: Pace { poll, look: poll, save: quick, pause: quick },
        })
    }

    /// Adds records, one for each letter, which names the application.
    fn happens(&self, from: usize, applications: &str) {
        let records: Vec<Record> = applications
            .chars()
            .zip(from..)
            .map(|(app, n)| record(&format!("r{n}"), &app.to_string()))
            .collect();
        self.ledger.append(&records).unwrap();
        self.ledgers.send_modify(|_| {});
    }

    fn keeper(&self) -> Keeper {
        Keeper::new(self.store(), "argocd", "siem")
    }

    /// Waits until what is kept is so.
    async fn kept(&self, what: &str, holds: impl Fn(&Kept) -> bool) -> Kept {
        let keeper = self.keeper();
        let wait = async {
            loop {
                let (kept, _) = keeper.load().await.unwrap();
                if holds(&kept) {
                    return kept;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        waited.unwrap_or_else(|_| panic!("{what}"))
    }
}

/// The ids of the records in a request of the format `json`, `cloudevents` or `splunk`, with their applications.
fn ids(came: &Came) -> Vec<(String, String)> {
    let documents = serde_json::Deserializer::from_slice(&came.body).into_iter::<serde_json::Value>();
    let event = |document: serde_json::Value| {
        let event = document.get("event").or_else(|| document.get("data")).unwrap_or(&document).clone();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&event["id"]), text(&event["application"]["name"]))
    };
    documents.map(|document| event(document.unwrap())).collect()
}

/// Whether so many different records were taken.
fn has(count: usize) -> impl Fn(&[Came]) -> bool {
    move |came| {
        let mut taken: Vec<_> = came.iter().filter(|one| one.taken).flat_map(ids).collect();
        taken.sort();
        taken.dedup();
        taken.len() >= count
    }
}

/// Each application's records, in the order in which the sink first had them.
fn first_arrivals(came: &[Came]) -> BTreeMap<String, Vec<usize>> {
    let mut order: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (id, app) in came.iter().filter(|one| one.taken).flat_map(ids) {
        let number = id[1..].parse().unwrap();
        let of_app = order.entry(app).or_default();
        if !of_app.contains(&number) {
            of_app.push(number);
        }
    }
    order
}

#[track_caller]
fn assert_in_order(came: &[Came]) {
    for (app, order) in first_arrivals(came) {
        assert!(order.is_sorted(), "{app}: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_sink_does_it_gets_all_in_order() {
    for format in ["json", "cloudevents", "splunk"] {
        let stage = Stage::new().await;
        stage.server.will([
            Answer::Status(500),
            Answer::Drops,
            Answer::Hangs,
            Answer::Redirect,
            Answer::Late(300),
            Answer::Status(200),
            Answer::Throttled(1),
            Answer::Status(400),
            Answer::Status(401),
        ]);
        let daemon = stage.daemon(format, "");
        stage.happens(1, "abacabaabc");
        let came = stage.server.until(format, has(10)).await;
        assert_in_order(&came);
        assert!(came.iter().all(|one| one.uri.path() != "/elsewhere"), "a redirect was followed");
        let settled = |kept: &Kept| {
            kept.ledgers.values().all(|one| one.behind() == 0 && one.newest == 10 && one.last_error.is_none())
        };
        stage.kept("all is settled", settled).await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_is_left_alone_for_as_long_as_it_asks() {
    let stage = Stage::new().await;
    stage.server.will([Answer::Throttled(1)]);
    let daemon = stage.daemon("json", "");
    stage.happens(1, "ab");
    let came = stage.server.until("both", has(2)).await;
    let throttled = came.iter().find(|one| !one.taken).unwrap();
    let again = came.iter().find(|one| one.taken && ids(one) == ids(throttled)).unwrap();
    assert!(again.at - throttled.at >= Duration::from_secs(1));
    daemon.stop().await;
}

/// What a history is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    DaemonKilled,
    DaemonStarts,
    ServerKilled,
    ServerStarts,
}

/// All orders of four events.
fn orders() -> Vec<[Event; 4]> {
    use Event::{DaemonKilled, DaemonStarts, ServerKilled, ServerStarts};
    let events = [DaemonKilled, DaemonStarts, ServerKilled, ServerStarts];
    let mut orders = Vec::new();
    for code in 0..256_usize {
        let picks = [code % 4, code / 4 % 4, code / 16 % 4, code / 64];
        if (0..4).all(|event| picks.contains(&event)) {
            orders.push(picks.map(|pick| events[pick]));
        }
    }
    orders
}

#[tokio::test(flavor = "multi_thread")]
async fn daemon_and_sink_killed_in_every_order_lose_nothing() {
    let orders = orders();
    assert_eq!(orders.len(), 24);
    for order in orders {
        let mut stage = Stage::new().await;
        let mut daemon = Some(stage.daemon("json", ""));
        stage.happens(1, "abab");
        // In the middle of it.
        stage.server.until("the first record", has(1)).await;
        for (i, event) in order.into_iter().enumerate() {
            match event {
                // As by SIGKILL: nothing is saved.
                Event::DaemonKilled => drop(daemon.take()),
                Event::DaemonStarts => daemon = daemon.or_else(|| Some(stage.daemon("json", ""))),
                Event::ServerKilled => stage.server.kill().await,
                Event::ServerStarts => {
                    stage.server.kill().await;
                    stage.server.rise().await;
                }
            }
            stage.happens(5 + 2 * i, "ab");
        }
        stage.server.kill().await;
        stage.server.rise().await;
        let daemon = daemon.unwrap_or_else(|| stage.daemon("json", ""));
        let came = stage.server.until(&format!("{order:?}"), has(12)).await;
        assert_in_order(&came);
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_do_no_harm() {
    let stage = Stage::new().await;
    let (one, other) = (stage.daemon("json", ""), stage.daemon("json", ""));
    for n in 0..10 {
        stage.happens(1 + 5 * n, "abcab");
    }
    let came = stage.server.until("all", has(50)).await;
    assert_in_order(&came);
    stage.kept("both agree", |kept| kept.ledgers.values().all(|l| l.newest == 50 && l.behind() == 0)).await;
    one.stop().await;
    other.stop().await;
    // What they agreed on is not sent a third time.
    let before = stage.server.came().len();
    let third = stage.daemon("json", "");
    stage.happens(51, "a");
    let came = stage.server.until("the new one", has(51)).await;
    assert_eq!(came.len(), before + 1);
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_is_not_sent_again_after_a_stop() {
    let stage = Stage::new().await;
    let daemon = stage.daemon("splunk", "");
    stage.happens(1, "abc");
    stage.server.until("all", has(3)).await;
    daemon.stop().await;
    let daemon = stage.daemon("splunk", "");
    stage.happens(4, "a");
    let came = stage.server.until("the new one", has(4)).await;
    let all: Vec<_> = came.iter().flat_map(ids).collect();
    assert_eq!(all.len(), 4, "{all:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_noticed_by_a_running_daemon() {
    let stage = Stage::new().await;
    let daemon = stage.daemon("json", "");
    stage.happens(1, "aaaa");
    stage
        .kept("all is settled", |kept| {
            kept.ledgers.values().any(|one| one.cursor.through == 4 && one.behind() == 0)
        })
        .await;
    let (sinks, kept) = (stage.folder.path().join("sinks.yaml"), stage.folder.path().join("state"));
    let yaml = format!(
        "apiVersion: lastgood.dev/v1alpha1\nsinks: [{{ name: siem, url: \"{}\", format: json }}]",
        stage.server.url()
    );
    std::fs::write(&sinks, yaml).unwrap();
    let told = stage::lastgood(&["sink", "replay", "--sink", "siem", "--from", "3"], &sinks, &kept);
    assert!(told.contains("siem: a running daemon sends the records of"), "{told}");
    let came = stage.server.until("two again", |came| came.len() == 6).await;
    let sent: Vec<String> = came.iter().flat_map(ids).map(|(id, _)| id).collect();
    assert_eq!(sent, ["r1", "r2", "r3", "r4", "r3", "r4"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_listed_and_the_rest_goes_on() {
    let stage = Stage::new().await;
    stage.server.says("/", "no s3cr3t-token here");
    stage.server.will([Answer::Status(413), Answer::Status(200), Answer::Status(403)]);
    let secrets = stage.folder.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("token"), "s3cr3t-token\n").unwrap();
    let daemon = stage.daemon("json", &format!("    credentials: {{ folder: {} }}\n", secrets.display()));
    stage.happens(1, "aab");
    let came = stage.server.until("the others", has(2)).await;
    assert_eq!(came[0].headers["authorization"], "Bearer s3cr3t-token");
    stage
        .kept("all is settled", |kept| {
            kept.ledgers.values().any(|one| one.cursor.dead_count == 1 && one.behind() == 0)
        })
        .await;
    daemon.stop().await;
    let (sinks, kept) = (stage.folder.path().join("sinks.yaml"), stage.folder.path().join("state"));
    let yaml = format!(
        "apiVersion: lastgood.dev/v1alpha1\nsinks: [{{ name: siem, url: \"{}\", format: json }}]",
        stage.server.url()
    );
    std::fs::write(&sinks, yaml).unwrap();
    let told = stage::lastgood(&["sink", "list"], &sinks, &kept);
    assert!(told.starts_with("siem: 0 behind, 1 set aside, record 3 of 3\n  ledger "), "{told}");
    assert!(
        told.contains("  set aside: record ")
            && told.contains("it answered 413 Payload Too Large: no *** here"),
        "{told}"
    );
    let saved = serde_json::to_string(&stage.keeper().load().await.unwrap().0).unwrap();
    assert!(!saved.contains("s3cr3t"), "{saved}");
}
