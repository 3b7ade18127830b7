//! How long a replay takes, Prometheus aside: thirty days in steps of 15 s, ten SLOs, a pretended sync each quarter of an
//! hour.
//!
//! `cargo bench --bench replay` prints it; nothing fails by being slow.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints"
)]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use lastgood::engine::event::SloAnswer;
use lastgood::engine::facts::{AppKey, Reading};
use lastgood::engine::time::later;
use lastgood::policy;
use lastgood::replay::{Pretence, Recorded, needs, rehearse};

const DAYS: u64 = 30;
const SLOS: usize = 10;

fn main() {
    let slos: Vec<String> = (0..SLOS)
        .map(|i| format!("  - {{ name: errors{i}, query: 'errors{{n=\"{i}\"}}', max: 0.05 }}\n"))
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
    // Noise below the limit, the same each time.
    let value = |at: Timestamp| Reading::Value((at.as_second() as f64).sin().abs() * 0.04);
    let fetched: Vec<_> = needs
        .iter()
        .map(|stretch| {
            let answer = |at| SloAnswer::new(&stretch.query, at, value(at));
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
    for sync in &syncs {
        rehearse(&policy, sync, &recorded);
    }
    let judged = began.elapsed();
    println!("replay: {DAYS} days, {SLOS} SLOs, {} pretended syncs, {values} values", syncs.len());
    for (what, took) in [("what is needed", planned), ("keeping what came", kept), ("judging", judged)] {
        println!("  {what:<20} {:>9.1} ms", took.as_secs_f64() * 1e3);
    }
    println!("  {:<20} {:>9.1} us", "each sync", judged.as_secs_f64() * 1e6 / syncs.len() as f64);
}
