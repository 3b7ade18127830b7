//! How often a rule rolls an innocent change back, how many regressions it catches, and how fast: ours beside those of the field,
//! on the same generated traces.
//!
//! `cargo bench --bench judgement -- --analyses 4000 --seed 1 --family usual`; the traces are in `judgement/trace.rs`, what
//! services there are besides the usual one in `judgement/family.rs`, the rules, each with its source, in `judgement/rules.rs`.
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

#[path = "judgement/family.rs"]
mod family;
#[path = "judgement/rules.rs"]
mod rules;
#[path = "judgement/trace.rs"]
mod trace;

use lastgood::engine::judge::stats::binomial::wilson;

use family::{FAMILIES, Family};
use rules::{PRESETS, Policy, RIVALS};
use trace::{Kind, Trace};

/// What a policy says by default: a quarter, and for this service 10 ms and half a percent.
const DEFAULT: Policy =
    Policy { rate: 0.001, tolerance: 0.25, slower: 0.01, failing: 0.005, windows: &[(300, 14.4)] };

/// What is less than each generated regression, and errors of a fifth of a percent over the analysis.
const SMALL: Policy = Policy {
    rate: 0.001,
    tolerance: 0.1,
    slower: 0.002,
    failing: 0.0005,
    windows: &[(300, 14.4), (900, 2.0)],
};

/// The rates that our rule is tried at.
const RATES: [f64; 6] = [0.001, 0.01, 0.05, 0.1, 0.2, 0.5];

/// What became of the analyses of one rule.
#[derive(Clone, Default)]
struct Tally {
    name: String,
    /// Of innocent changes: all, and those rolled back.
    innocent: [usize; 2],
    /// Of regressions, by kind: all, and those caught.
    guilty: [[usize; 2]; 4],
    /// Of the regressions that are as great as `DEFAULT` says that it matters.
    concerning: [usize; 2],
    /// Seconds to the verdicts that were right.
    took: Vec<i64>,
}

fn main() {
    let (mut analyses, mut seed, mut family) = (4000_u64, 1_u64, "usual".to_owned());
    let args: Vec<String> = std::env::args().collect();
    for pair in args.windows(2) {
        match pair[0].as_str() {
            "--analyses" => analyses = pair[1].parse().unwrap(),
            "--seed" => seed = pair[1].parse().unwrap(),
            "--family" => family.clone_from(&pair[1]),
            _ => {}
        }
    }
    println!("{analyses} analyses of {} s, seed {seed}", trace::AFTER);
    if family == "all" {
        print_families(analyses, seed);
        return;
    }
    let (_, family) = FAMILIES.into_iter().find(|(name, _)| *name == family).expect("a family that there is");
    let mut ours = vec![("lastgood, 0.1 %, default limits".to_owned(), DEFAULT)];
    ours.extend(RATES.map(|rate| (format!("lastgood, {} %", 100.0 * rate), Policy { rate, ..SMALL })));
    let tallies = tallies(family, analyses, seed, &ours);
    let (ours, rivals) = tallies.split_at(ours.len());
    println!("\n| rule | false rollbacks (95 %) | caught | latency | errors | both | leak | median | 95th |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for tally in &tallies {
        let kinds = tally.guilty.map(|kind| format!(" {:.0} % |", percent(kind))).concat();
        let [false_rollbacks, caught, median, slowest] = tally.cells();
        println!("| {} | {false_rollbacks} | {caught} |{kinds} {median} | {slowest} |", tally.name);
    }
    let [all, caught] = ours[0].concerning;
    let guilty = ours[0].guilty()[0];
    println!(
        "\n{} of {guilty} regressions are smaller than the default limits; of the others were caught:",
        guilty - all
    );
    println!("lastgood, 0.1 %, default limits: {:.1} %", percent([all, caught]));
    println!(
        "\n| rule | false rollbacks | caught | median | ours with no more | false rollbacks | caught | median |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for rival in &rivals[PRESETS.len()..] {
        // The highest rate that this one affords.
        let no_more = ours[1..].iter().rfind(|tally| percent(tally.innocent) <= percent(rival.innocent));
        let row = |tally: &Tally| {
            let (false_rollbacks, caught) = (percent(tally.innocent), percent(tally.guilty()));
            format!("{} | {false_rollbacks:.2} % | {caught:.1} % | {}", tally.name, tally.quantile(0.5))
        };
        println!("| {} | {} |", row(rival), no_more.map_or("none | | | ".to_owned(), row));
    }
    println!("\none tick of 1,000 applications with 5 comparisons each: {:?}", rules::tick(5000));
}

/// Ours beside the best of the others, for each family of services.
fn print_families(analyses: u64, seed: u64) {
    let ours = [("lastgood, 0.1 %, default limits".to_owned(), DEFAULT)];
    println!("\n| services | rule | false rollbacks (95 %) | caught | median | 95th |");
    println!("|---|---|---|---|---|---|");
    for (name, family) in FAMILIES {
        let tallies = tallies(family, analyses, seed, &ours);
        for tally in
            tallies.iter().filter(|t| !t.name.starts_with("Argo") && !t.name.contains("threshold 1,"))
        {
            println!("| {name} | {} | {} |", tally.name, tally.cells().join(" | "));
        }
    }
}

/// Tries ours with each of these policies, and all others.
fn tallies(family: Family, analyses: u64, seed: u64, ours: &[(String, Policy)]) -> Vec<Tally> {
    let names = ours
        .iter()
        .map(|(name, _)| name.clone())
        .chain(PRESETS.iter().chain(&RIVALS).map(|(name, _)| (*name).to_owned()));
    let mut tallies: Vec<_> = names.map(|name| Tally { name, ..Tally::default() }).collect();
    for number in 0..analyses {
        let trace = Trace::generate(family, seed.wrapping_mul(1_000_003).wrapping_add(number));
        let ours = ours.iter().map(|(_, policy)| rules::lastgood(&trace, *policy));
        let verdicts = ours.chain(PRESETS.iter().chain(&RIVALS).map(|(_, rule)| rule(&trace)));
        for (verdict, tally) in verdicts.zip(&mut tallies) {
            tally.add(&trace, verdict);
        }
    }
    for tally in &mut tallies {
        tally.took.sort_unstable();
    }
    tallies
}

impl Tally {
    fn add(&mut self, trace: &Trace, verdict: Option<i64>) {
        let convicted = usize::from(verdict.is_some());
        let counts = match trace.kind {
            Kind::Innocent => &mut self.innocent,
            Kind::Latency => &mut self.guilty[0],
            Kind::Errors => &mut self.guilty[1],
            Kind::Both => &mut self.guilty[2],
            Kind::Leak => &mut self.guilty[3],
        };
        *counts = [counts[0] + 1, counts[1] + convicted];
        if trace.kind != Kind::Innocent {
            self.took.extend(verdict);
            if DEFAULT.concerns(trace) {
                self.concerning = [self.concerning[0] + 1, self.concerning[1] + convicted];
            }
        }
    }

    fn guilty(&self) -> [usize; 2] {
        self.guilty.iter().fold([0, 0], |sum, of| [sum[0] + of[0], sum[1] + of[1]])
    }

    /// False rollbacks with their interval, caught, the median and the 95th percentile of the time to a right verdict.
    fn cells(&self) -> [String; 4] {
        let [all, convicted] = self.innocent;
        let interval = wilson(convicted as f64, all as f64, 0.95);
        let (low, high) = (100.0 * interval.low, 100.0 * interval.high);
        let false_rollbacks = format!("{:.2} % ({low:.2}-{high:.2})", percent(self.innocent));
        [false_rollbacks, format!("{:.1} %", percent(self.guilty())), self.quantile(0.5), self.quantile(0.95)]
    }

    fn quantile(&self, share: f64) -> String {
        let place = (share * self.took.len() as f64) as usize;
        self.took.get(place).map_or("never".to_owned(), |seconds| format!("{seconds} s"))
    }
}

fn percent([all, of]: [usize; 2]) -> f64 {
    100.0 * of as f64 / all.max(1) as f64
}
