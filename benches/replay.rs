//! How long a replay takes, Prometheus aside: thirty days in steps of 15 s, ten SLOs, a pretended sync each quarter of an
//! hour; once with fixed limits only, and once with comparisons for half of the SLOs.
//!
//! `cargo bench --bench replay` prints it; nothing fails by being slow.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints"
)]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lastgood::engine::event::SloAnswer;
use lastgood::engine::facts::{AppKey, Reading};
use lastgood::engine::time::later;
use lastgood::policy;
use lastgood::replay::{Pretence, Recorded, Rehearsal, needs, rehearse_each};

const DAYS: u64 = 30;
const SLOS: usize = 10;

fn main() {
    replay("fixed limits", |_| "max: 0.05");
    replay("half of them comparisons", |i| {
        if i % 2 == 0 { "max: 0.05" } else { "comparison: { worse: increase }" }
    });
}

/// Replays and prints; `rule` is that of the SLO of this number.
fn replay(what: &str, rule: fn(usize) -> &'static str) {
    let slos: Vec<String> = (0..SLOS)
        .map(|i| format!("  - {{ name: errors{i}, query: 'errors{{n=\"{i}\"}}', {} }}\n", rule(i)))
        .collect();
    let slos = slos.concat();
    let text = format!(
        "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: shop }}\nprometheus: {{ url: http://prometheus }}\nslos:\n{slos}rollback: {{ mode: dry-run }}\n"
    );
    let policy = policy::read("shop.yaml", text.as_bytes()).unwrap().policy;
    let start = Timestamp::from_second(1_750_000_000).unwrap();
    let quarters = DAYS * 24 * 4;
    let syncs: Vec<Pretence> = (0..quarters)
        .map(|k| {
            let at = later(start, Duration::from_secs(900 * k));
            Pretence::new(at, AppKey::new("argocd", "shop"), "shop")
        })
        .collect();

    let began = Instant::now();
    let needs = needs(&policy, &syncs);
    let planned = began.elapsed();
    let (mut recorded, mut values) = (Recorded::default(), 0);
    let fetched: Vec<_> = needs
        .iter()
        .map(|stretch| {
            let answer = |at| SloAnswer::new(&stretch.query, at, noise(&stretch.query.promql, at));
            (stretch, stretch.times().into_iter().map(answer).collect::<Vec<_>>())
        })
        .collect();
    let began = Instant::now();
    for (stretch, answers) in fetched {
        values += answers.len();
        recorded.add(stretch, answers);
    }
    let kept = began.elapsed();
    let began = Instant::now();
    rehearse_each(&policy, &syncs, &recorded, Rehearsal::without_looks);
    let judged = began.elapsed();
    println!("replay, {what}: {DAYS} days, {SLOS} SLOs, {} pretended syncs, {values} values", syncs.len());
    for (what, took) in [("what is needed", planned), ("keeping what came", kept), ("judging", judged)] {
        println!("  {what:<20} {:>9.1} ms", took.as_secs_f64() * 1e3);
    }
    println!("  {:<20} {:>9.1} us", "each sync", judged.as_secs_f64() * 1e6 / syncs.len() as f64);
}

/// Noise below the limit, independent at each time, the same in each run.
fn noise(query: &str, at: Timestamp) -> Reading {
    let mut hasher = DefaultHasher::new();
    (query, at.as_second()).hash(&mut hasher);
    Reading::Value(0.02 + 0.02 * hasher.finish() as f64 / u64::MAX as f64)
}
