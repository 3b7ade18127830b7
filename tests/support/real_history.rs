//! The same against a real Prometheus, whose history is of a shop with one bad deploy; skipped where none is installed.

use super::backfilled::{Counter, Prometheus, start};
use super::{command, json};

/// 2025-06-02T10:00:00Z: a deploy that makes three requests in ten fail, and twice as many slow, for ten minutes.
const BAD: i64 = 1_748_858_400;

fn is_bad(at: i64) -> bool {
    (BAD..BAD + 600).contains(&at)
}

/// A few percent more or less, the same each time.
fn noise(at: i64, of: f64) -> f64 {
    1.0 + 0.05 * ((at as f64 * 12.9898 + of).sin() * 43_758.547).fract()
}

/// Requests in a second, by how they went.
const SHOP: [Counter; 6] = [
    Counter {
        name: "http_requests_total",
        labels: r#"namespace="shop",app="shop",code="200""#,
        per_second: |at| 50.0 * noise(at, 1.0) * if is_bad(at) { 0.7 } else { 1.0 },
    },
    Counter {
        name: "http_requests_total",
        labels: r#"namespace="shop",app="shop",code="500""#,
        per_second: |at| 50.0 * noise(at, 2.0) * if is_bad(at) { 0.3 } else { 0.002 },
    },
    Counter {
        name: "http_request_duration_seconds_bucket",
        labels: r#"namespace="shop",app="shop",le="0.1""#,
        per_second: |at| 50.0 * (0.9 + 0.02 * noise(at, 3.0)) * if is_bad(at) { 0.4 } else { 1.0 },
    },
    Counter {
        name: "http_request_duration_seconds_bucket",
        labels: r#"namespace="shop",app="shop",le="0.5""#,
        per_second: |at| 50.0 * (0.985 + 0.005 * noise(at, 4.0)),
    },
    Counter {
        name: "http_request_duration_seconds_bucket",
        labels: r#"namespace="shop",app="shop",le="1""#,
        per_second: |_| 50.0,
    },
    Counter {
        name: "http_request_duration_seconds_bucket",
        labels: r#"namespace="shop",app="shop",le="+Inf""#,
        per_second: |_| 50.0,
    },
];

/// A shop from four to noon, and a folder.
fn shop() -> Option<(Prometheus, tempfile::TempDir)> {
    let prometheus = start(BAD - 6 * 3600, BAD + 2 * 3600, &SHOP);
    if prometheus.is_none() {
        eprintln!("skipped: prometheus and promtool are not installed");
    }
    Some((prometheus?, tempfile::tempdir().unwrap()))
}

const RATIO: &str = r#"sum(rate(http_requests_total{app="shop",code="500"}[1m])) / sum(rate(http_requests_total{app="shop"}[1m]))"#;
const MEDIAN: &str =
    r#"histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket{app="shop"}[1m])))"#;

fn policy(url: &str, slos: &str) -> String {
    format!(
        "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: shop }}\nprometheus: {{ url: '{url}' }}\nslos:\n{slos}rollback: {{ mode: dry-run }}\n"
    )
}

fn by_limit(max: f64) -> String {
    format!("  - {{ name: errors, query: '{RATIO}', max: {max} }}\n")
}

fn by_comparison() -> String {
    format!("  - {{ name: latency, query: '{MEDIAN}', comparison: {{ worse: increase }} }}\n")
}

fn by_budget() -> String {
    let ratio = RATIO.replace("[1m]", "[{{ window }}]");
    let events = r#"sum(increase(http_requests_total{app="shop"}[{{ window }}]))"#;
    format!(
        "  - name: errors\n    query: '{ratio}'\n    burnRate: {{ objective: 99.9%, events: '{events}' }}\n"
    )
}

/// What a replay of a policy says: the verdict, seconds from the sync to it, and why, of each sync.
fn verdicts(dir: &tempfile::TempDir, policy: &str, when: &[&str]) -> Vec<(String, i64, String)> {
    std::fs::write(dir.path().join("shop.yaml"), policy).unwrap();
    let replay = ["replay", "--policy", "shop.yaml", "--output", "json"];
    let (code, out, err) = command(dir.path(), &[&replay, when].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let second =
        |text: &serde_json::Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let told = |line| {
        let told = json(line);
        let text = |field: &str| told[field].as_str().unwrap().to_owned();
        (text("verdict"), second(&told["decidedAt"]) - second(&told["at"]), text("reason"))
    };
    out.lines().map(told).collect()
}

/// Each half hour from five to half past nine.
const QUIET: [&str; 6] = ["--from", "2025-06-02T05:00:00Z", "--to", "2025-06-02T09:30:00Z", "--every", "30m"];

#[test]
fn the_bad_deploy_is_convicted_and_the_quiet_hours_are_not() {
    let Some((prometheus, dir)) = shop() else { return };
    let check = |slos: &str, convicts: &str, soonest: i64, latest: i64| {
        let policy = policy(&prometheus.url, slos);
        let bad = verdicts(&dir, &policy, &["--at", "2025-06-02T10:00:00Z"]);
        let [(verdict, took, reason)] = bad.as_slice() else { panic!("{bad:?}") };
        assert!(verdict == "degraded" && reason.contains(convicts), "{bad:?}");
        assert!((soonest..=latest).contains(took), "{bad:?}");
        let quiet = verdicts(&dir, &policy, &QUIET);
        assert_eq!(quiet.len(), 10);
        assert!(quiet.iter().all(|(verdict, ..)| verdict == "healthy"), "{quiet:?}");
    };
    check(&by_limit(0.05), "slo `errors`: 3 of", 45, 75);
    check(&by_comparison(), "slo `latency`", 120, 300);
    check(&by_budget(), "slo `errors`: uses its error budget up", 150, 200);
}

#[test]
fn what_is_suggested_convicts_the_bad_deploy_alone() {
    let Some((prometheus, dir)) = shop() else { return };
    std::fs::write(dir.path().join("shop.yaml"), policy(&prometheus.url, &by_limit(0.001))).unwrap();
    let known = ["suggest", "--policy", "shop.yaml"];
    let new = ["suggest", "--application", "shop", "--prometheus", &prometheus.url];
    let chosen = [
        &["suggest", "--preset", "http", "--metrics", "plain", "--selector", r#"app="shop""#][..],
        &["--prometheus", &prometheus.url],
    ]
    .concat();
    for suggest in [&known[..], &new, &chosen] {
        let span = ["--weeks", "1", "--to", "2025-06-02T09:30:00Z"];
        let (code, out, err) = command(dir.path(), &[suggest, &span].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert!(out.contains(" 0 would have been convicted"), "{out}");
        std::fs::write(dir.path().join("proposed.yaml"), &out).unwrap();
        let (code, checked, _) = command(dir.path(), &["check", "proposed.yaml"]);
        assert_eq!(code, 0, "{checked}\n{out}");
        let bad = verdicts(&dir, &out, &["--at", "2025-06-02T10:00:00Z"]);
        assert_eq!(bad[0].0, "degraded", "{bad:?}\n{out}");
        let quiet = verdicts(&dir, &out, &QUIET);
        assert!(quiet.iter().all(|(verdict, ..)| verdict == "healthy"), "{quiet:?}\n{out}");
    }
}
