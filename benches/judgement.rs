//! How often a rule rolls an innocent change back, how many regressions it catches, and how fast: ours beside those of the field,
//! on the same generated traces.
//!
//! `cargo bench --bench judgement -- --analyses 4000 --seed 1`; the traces are in `judgement/trace.rs`, the rules, each
//! with its source, in `judgement/rules.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::doc_markdown,
    unreachable_pub,
    reason = "a benchmark prints, rounds, and names other projects' files"
)]

#[path = "judgement/rules.rs"]
mod rules;
#[path = "judgement/trace.rs"]
mod trace;

use lastgood::engine::judge::stats::binomial::wilson;

use rules::RULES;
use trace::{Kind, Trace};

/// What became of the analyses of one rule.
#[derive(Clone, Default)]
struct Tally {
    /// Of innocent changes: all, and those rolled back.
    innocent: [usize; 2],
    /// Of regressions, by kind: all, and those caught.
    guilty: [[usize; 2]; 4],
    /// Seconds to the verdicts that were right.
    took: Vec<i64>,
}

fn main() {
    let (mut analyses, mut seed) = (4000_u64, 1_u64);
    let args: Vec<String> = std::env::args().collect();
    for pair in args.windows(2) {
        match pair[0].as_str() {
            "--analyses" => analyses = pair[1].parse().unwrap(),
            "--seed" => seed = pair[1].parse().unwrap(),
            _ => {}
        }
    }
    let mut tallies = vec![Tally::default(); RULES.len()];
    for number in 0..analyses {
        let trace = Trace::generate(seed.wrapping_mul(1_000_003).wrapping_add(number));
        for ((_, rule), tally) in RULES.iter().zip(&mut tallies) {
            let verdict = rule(&trace);
            let counts = match trace.kind {
                Kind::Innocent => &mut tally.innocent,
                Kind::Latency => &mut tally.guilty[0],
                Kind::Errors => &mut tally.guilty[1],
                Kind::Both => &mut tally.guilty[2],
                Kind::Leak => &mut tally.guilty[3],
            };
            counts[0] += 1;
            counts[1] += usize::from(verdict.is_some());
            if trace.kind != Kind::Innocent {
                tally.took.extend(verdict);
            }
        }
    }
    println!("{analyses} analyses of {} s, seed {seed}\n", trace::AFTER);
    println!("| rule | false rollbacks (95 %) | caught | latency | errors | both | leak | median | 95th |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for ((name, _), tally) in RULES.iter().zip(&mut tallies) {
        print_row(name, tally);
    }
    let traces: Vec<_> = (0..100).map(Trace::generate).collect();
    println!("\none tick of 1,000 applications with 5 comparisons each: {:?}", rules::tick(&traces, 5000));
}

fn print_row(name: &str, tally: &mut Tally) {
    let [all, convicted] = tally.innocent;
    let interval = wilson(convicted as f64, all as f64, 0.95);
    let percent = |[all, of]: [usize; 2]| format!("{:.0} %", 100.0 * of as f64 / all.max(1) as f64);
    let guilty = tally.guilty.iter().fold([0, 0], |sum, of| [sum[0] + of[0], sum[1] + of[1]]);
    tally.took.sort_unstable();
    let quantile = |share: f64| {
        let place = (share * tally.took.len() as f64) as usize;
        tally.took.get(place).map_or("never".to_owned(), |seconds| format!("{seconds} s"))
    };
    println!(
        "| {name} | {:.2} % ({:.2}-{:.2}) | {} | {} | {} | {} | {} | {} | {} |",
        100.0 * convicted as f64 / all.max(1) as f64,
        100.0 * interval.low,
        100.0 * interval.high,
        percent(guilty),
        percent(tally.guilty[0]),
        percent(tally.guilty[1]),
        percent(tally.guilty[2]),
        percent(tally.guilty[3]),
        quantile(0.5),
        quantile(0.95),
    );
}
