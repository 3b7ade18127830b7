//! Agreement with the reference, and what must hold for any numbers.

use proptest::prelude::*;

use super::binomial::{Interval, at_least, at_most, clopper_pearson, wilson};
use super::rank::{Ranks, least_chance, ranks, shift};
use super::special::{beta_complement, beta_regularised, ln_gamma, normal_quantile_of_tail, normal_tail};
use super::{correlation, median, sorted, spending};

/// What scipy says: see `reference.py` beside it.
const REFERENCE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/statistics/reference.tsv"));

fn numbers(text: &str) -> Vec<f64> {
    text.split(',').map(|number| number.parse().unwrap()).collect()
}

fn ours(what: &str, given: &[Vec<f64>]) -> Vec<f64> {
    let one = |i: usize| given[i][0];
    let ends = |interval: Interval| vec![interval.low, interval.high];
    match what {
        "mann-whitney exact" => {
            let ranks = ranks(&given[0], &given[1]);
            let exact = |ranks: &Ranks| ranks.exact_greater(usize::MAX).unwrap();
            let (greater, less) = (exact(&ranks), exact(&ranks.turned()));
            // Whatever is rare enough to convict is computed exactly.
            assert!(greater > 0.01 || (ranks.greater() / greater - 1.0).abs() < 1e-12, "{ranks:?}");
            vec![ranks.u, greater, less, (2.0 * greater.min(less)).min(1.0)]
        }
        "mann-whitney normal" => {
            let forth = ranks(&given[0], &given[1]);
            let back = ranks(&given[1], &given[0]);
            let (greater, less) = (forth.normal_greater(), back.normal_greater());
            vec![forth.u, greater, less, (2.0 * greater.min(less)).min(1.0)]
        }
        "shift" => vec![shift(&given[0], &given[1]).unwrap()],
        "binomial" => vec![at_least(one(0), one(1), one(2)), at_most(one(0), one(1), one(2))],
        "clopper-pearson" => ends(clopper_pearson(one(0), one(1), one(2))),
        "wilson" => ends(wilson(one(0), one(1), one(2))),
        "normal tail" => vec![normal_tail(one(0))],
        "ln gamma" => vec![ln_gamma(one(0))],
        "beta" => vec![beta_regularised(one(0), one(1), one(2)), beta_complement(one(0), one(1), one(2))],
        other => panic!("unknown kind {other}"),
    }
}

#[test]
fn agrees_with_scipy() {
    for line in REFERENCE.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        let (what, given, expected) = (columns[0], &columns[1..columns.len() - 1], columns.last().unwrap());
        let given: Vec<_> = given.iter().map(|text| numbers(text)).collect();
        let (got, expected) = (ours(what, &given), numbers(expected));
        assert_eq!(got.len(), expected.len(), "{line}");
        for (got, expected) in got.iter().zip(&expected) {
            // Relative, so that tiny chances agree too.
            let error = (got - expected).abs() / if *expected == 0.0 { 1.0 } else { expected.abs() };
            assert!(error < 1e-9, "{what} {given:?}: {got}, scipy says {expected} ({error:e})");
        }
    }
    assert!(REFERENCE.lines().count() > 100, "the table is not empty");
}

#[test]
fn quantiles_turn_tails_around() {
    for chance in [1e-9, 0.001, 0.025, 0.4, 0.9] {
        assert!((normal_tail(normal_quantile_of_tail(chance)) / chance - 1.0).abs() < 1e-12, "{chance}");
    }
}

#[test]
fn nothing_is_said_about_nothing() {
    assert_eq!(median(&[]), None);
    assert_eq!(shift(&[], &[1.0]), None);
    assert_eq!(shift(&[1.0], &[]), None);
    assert!((ranks(&[], &[1.0]).greater() - 1.0).abs() < 1e-12);
    assert!((ranks(&[2.0; 30], &[2.0; 30]).greater() - 1.0).abs() < 1e-12, "all equal");
    assert!((correlation::time(&[]) - 1.0).abs() < 1e-12);
    assert!((correlation::time(&[0.0; 50]) - 1.0).abs() < 1e-12);
}

/// A series in which each value keeps this share of the one before.
fn autoregressive(keep: f64, length: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    let mut value = random.normal();
    (0..length)
        .map(|_| {
            value = keep * value + (1.0 - keep * keep).sqrt() * random.normal();
            value
        })
        .collect()
}

/// Random numbers for tests: `SplitMix64` (G. L. Steele, D. Lea and C. H. Flood, OOPSLA 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Between 0 and 1, neither included.
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = u32::try_from((z ^ (z >> 31)) >> 32).unwrap();
        (f64::from(bits) + 0.5) / 4_294_967_296.0
    }

    /// Standard normal.
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }
}

#[test]
fn correlation_time_of_an_autoregression_is_known() {
    // (1 + keep) / (1 - keep).
    for (keep, expected) in [(0.0, 1.0), (0.5, 3.0), (0.8, 9.0), (0.9, 19.0)] {
        let mean =
            (0..40).map(|seed| correlation::time(&autoregressive(keep, 4000, seed))).sum::<f64>() / 40.0;
        assert!((mean / expected - 1.0).abs() < 0.15, "keep {keep}: {mean}, expected {expected}");
    }
}

#[test]
fn all_looks_together_spend_the_level() {
    for level_of in [spending::level_of, spending::even_level_of] {
        let spent: f64 = (1..=1_000_000).map(|look| level_of(look, 0.001)).sum();
        assert!(spent < 0.001 && spent > 0.000_999, "{spent}");
    }
}

fn samples() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    // Few different values, so that there are ties.
    let value = prop_oneof![(-20_i32..20).prop_map(f64::from), -1e6_f64..1e6, -1e6_f64..1e6];
    (prop::collection::vec(value.clone(), 1..30), prop::collection::vec(value, 1..12))
}

proptest! {
    #[test]
    fn neither_order_nor_unit_matter((first, second) in samples(), scale in 1e-6_f64..1e6, seed: u64) {
        let (mut mixed, mut random) = (first.clone(), Random(seed));
        mixed.sort_by_cached_key(|_| random.0.wrapping_add(random.share().to_bits()));
        let before = ranks(&first, &second);
        prop_assert_eq!(&ranks(&mixed, &second), &before);
        let scaled = |values: &[f64]| values.iter().map(|x| x * scale).collect::<Vec<_>>();
        prop_assert_eq!(&ranks(&scaled(&first), &scaled(&second)), &before);
        let (one, other) = (shift(&first, &second).unwrap(), shift(&scaled(&first), &scaled(&second)).unwrap());
        prop_assert!((one * scale - other).abs() <= 1e-9 * other.abs().max(scale));
    }

    #[test]
    fn worse_is_rarer((first, second) in samples(), place in 0_usize..12, by in 0.0_f64..1e6) {
        let mut worse = second.clone();
        let place = place % worse.len();
        worse[place] += by;
        prop_assert!(ranks(&first, &worse).u >= ranks(&first, &second).u);
        prop_assert!(shift(&first, &worse) >= shift(&first, &second));
        // With ties the chance is that among other choices after the change, so it may rise.
        let distinct = |second: &[f64]| {
            let all = sorted(first.iter().chain(second).copied());
            all.windows(2).all(|two| two[0] < two[1])
        };
        if distinct(&second) && distinct(&worse) {
            let (before, after) = (ranks(&first, &second).greater(), ranks(&first, &worse).greater());
            prop_assert!(after <= before * (1.0 + 1e-12));
        }
    }

    #[test]
    fn tails_are_chances((first, second) in samples()) {
        let ranks = ranks(&first, &second);
        let least = least_chance(first.len(), second.len());
        for chance in [ranks.greater(), ranks.less(), ranks.two_sided()] {
            prop_assert!(chance >= least * (1.0 - 1e-12) && chance <= 1.0, "{}", chance);
        }
        // What is seen is in both tails.
        prop_assert!(ranks.greater() + ranks.less() >= 1.0 - 1e-9);
        prop_assert_eq!(median(&sorted(first.iter().copied())), shift(&[0.0], &first));
    }

    #[test]
    fn intervals_hold_the_share_and_shrink(x in 0_u32..50, more in 1_u32..1000, confidence in 0.5..0.9999) {
        let (x, n) = (f64::from(x), f64::from(x + more));
        for interval in [clopper_pearson, wilson] {
            let one = interval(x, n, confidence);
            prop_assert!(one.low <= x / n && x / n <= one.high);
            let ten = interval(10.0 * x, 10.0 * n, confidence);
            prop_assert!(ten.high - ten.low < one.high - one.low);
        }
    }
}
