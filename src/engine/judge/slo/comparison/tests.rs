//! Series as they are in practice, and what the comparison makes of them.

use proptest::prelude::*;

use super::*;
use crate::engine::judge::stats::tests::Random;

const MINUTE: i64 = 60_000;

fn rule(worse: Worse) -> Comparison {
    Comparison { worse, tolerance: 0.25, minimum_change: None, also: Vec::new() }
}

/// Points each 15 seconds around the sync at 0, by their number from it; 0 is the last one before.
fn series(from: i64, to: i64, value: impl FnMut(i64) -> f64) -> Vec<Point> {
    let mut value = value;
    (from..=to).map(|i| Point { at: i * 15_000, value: value(i) }).collect()
}

/// What is said at each measurement since the sync: the first conviction with its second, else the last word.
fn story(rule: &Comparison, window: u64, before: &[Point], after: &[Point], level: f64) -> (i64, Finding) {
    let seconds = Duration::from_secs;
    let baseline = Baseline::new(before, seconds(window), seconds(15));
    let mut last = (0, Finding::Open("nothing yet".into()));
    for end in 1..=after.len() {
        let finding = judge(rule, &baseline, &[], &after[..end], blocks::milliseconds(SETTLE), level);
        last = (after[end - 1].at / 1000, finding);
        if matches!(last.1, Finding::Fails(_)) {
            break;
        }
    }
    last
}

/// A latency of about 0.1 s with noise of a tenth, over windows of a minute, times what happens at that second.
fn latency(happens: impl Fn(f64) -> f64) -> (Vec<Point>, Vec<Point>) {
    let mut random = Random(7);
    // The window of a minute holds four of these.
    let own: Vec<f64> =
        (-244..=40).map(|i| 0.1 * (0.2 * random.normal()).exp() * happens(f64::from(i) * 15.0)).collect();
    let all: Vec<Point> = own
        .windows(4)
        .zip(-241_i64..)
        .map(|(four, i)| Point { at: i * 15_000, value: four.iter().sum::<f64>() / 4.0 })
        .collect();
    let sync = all.partition_point(|point| point.at <= 0);
    (all[..sync].to_vec(), all[sync..].to_vec())
}

fn told(happens: impl Fn(f64) -> f64) -> String {
    let (before, after) = latency(happens);
    match story(&rule(Worse::Increase), 60, &before, &after, 0.001) {
        (at, Finding::Fails(change)) => {
            format!("{:.1} times after {at} s", 1.0 + change.shift / change.before)
        }
        (_, Finding::Passes) => "passes".to_owned(),
        (_, Finding::Objection(why)) => format!("objection: {why}"),
        (_, Finding::Open(why)) => format!("open: {why}"),
    }
}

#[test]
fn a_big_break_is_called_at_once_and_a_small_one_with_evidence() {
    assert_eq!(told(|_| 1.0), "passes");
    assert_eq!(told(|t| if t > 0.0 { 10.0 } else { 1.0 }), "8.6 times after 180 s");
    assert_eq!(told(|t| if t > 0.0 { 2.0 } else { 1.0 }), "1.8 times after 210 s");
    assert_eq!(told(|t| if t > 0.0 { 1.4 } else { 1.0 }), "1.3 times after 210 s");
    assert_eq!(told(|t| if t > 0.0 { 1.1 } else { 1.0 }), "passes", "less than the tolerance");
}

#[test]
fn what_settles_is_no_regression() {
    for seconds in [30.0, 60.0, 90.0] {
        assert_eq!(told(|t| if t > 0.0 && t <= seconds { 10.0 } else { 1.0 }), "passes", "{seconds} s");
    }
    assert_eq!(
        told(|t| if t > 0.0 { 1.0 + 9.0 * (-t / 60.0).exp() } else { 1.0 }),
        "passes",
        "caches warm up"
    );
}

#[test]
fn what_began_before_is_not_of_the_sync() {
    assert!(told(|t| if t > -120.0 { 5.0 } else { 1.0 }).starts_with("objection: began"));
    // As bad for a while, half an hour ago.
    assert_ne!(&told(|t| if t > 0.0 || (-2400.0..-1800.0).contains(&t) { 1.5 } else { 1.0 })[..3], "1.5");
}

#[test]
fn a_slow_leak_is_called_once_it_matters() {
    assert!(told(|t| 1.0 + t.max(0.0) / 300.0).contains("times after"));
}

#[test]
fn a_rupture_of_what_drifts_is_called() {
    let drifts = |t: f64| (t / 3600.0).exp();
    assert_eq!(told(drifts), "open: it may be worse, and may be chance");
    assert_eq!(told(|t| drifts(t) * if t > 0.0 { 8.0 } else { 1.0 }), "11.9 times after 180 s");
}

#[test]
fn what_begins_late_must_last_as_long() {
    assert_eq!(told(|t| if t > 360.0 && t < 510.0 { 4.0 } else { 1.0 }), "passes");
    assert_eq!(told(|t| if t > 300.0 { 4.0 } else { 1.0 }), "2.5 times after 450 s");
}

#[test]
fn a_usual_value_before_the_sync_is_no_beginning() {
    // Just before the sync it is as high as it is now and then.
    let before = |t: f64| if t.rem_euclid(600.0) > 510.0 { 1.3 } else { 1.0 };
    assert_eq!(told(|t| if t > 0.0 { 1.5 } else { before(t) }), "1.4 times after 330 s");
}

fn finding(before: &[f64], after: &[f64], worse: Worse) -> (i64, Finding) {
    let begin = 1 - i64::try_from(before.len()).unwrap();
    let points = |values: &[f64], from: i64| -> Vec<Point> {
        values.iter().zip(from..).map(|(value, i)| Point { at: i * 15_000, value: *value }).collect()
    };
    story(&rule(worse), 0, &points(before, begin), &points(after, 1), 0.001)
}

#[test]
fn constants_and_zeros() {
    let fails = |before: &[f64], after: &[f64]| {
        matches!(finding(before, after, Worse::Increase).1, Finding::Fails(_))
    };
    assert!(!fails(&[0.0; 240], &[0.0; 40]));
    assert!(fails(&[0.0; 240], &[0.2; 40]));
    assert!(!fails(&[3.0; 240], &[3.5; 40]), "within the tolerance");
    assert!(fails(&[3.0; 240], &[4.0; 40]));
    // Mostly zero before and after, by chance more often after.
    let sparse =
        |each: usize, n: usize| (0..n).map(|i| f64::from(u8::from(i % each == 0))).collect::<Vec<_>>();
    assert!(!fails(&sparse(20, 240), &sparse(7, 40)));
    assert!(fails(&sparse(20, 240), &[1.0; 40]));
}

#[test]
fn little_is_open_and_not_luck() {
    let noisy = |seed: u64, n: usize, by: f64| -> Vec<f64> {
        let mut random = Random(seed);
        (0..n).map(|_| by * (0.2 * random.normal()).exp()).collect()
    };
    let says = |before: usize, after: usize, by: f64| {
        finding(&noisy(1, before, 1.0), &noisy(2, after, by), Worse::Increase).1
    };
    assert!(matches!(says(2, 40, 10.0), Finding::Open(_)));
    assert!(matches!(says(240, 2, 10.0), Finding::Open(_)));
    assert!(matches!(says(20, 20, 1.5), Finding::Open(_)), "twenty points of five minutes");
    assert!(matches!(says(20, 20, 30.0), Finding::Fails(_)), "but a rupture is one");
    assert!(matches!(says(20, 20, 1.0), Finding::Passes));
}

#[test]
fn directions() {
    let base: Vec<f64> = (0..240).map(|i| 100.0 + f64::from(i * 7 % 11)).collect();
    let more: Vec<f64> = base.iter().take(40).map(|x| x * 3.0).collect();
    let less: Vec<f64> = base.iter().take(40).map(|x| x / 3.0).collect();
    for (worse, up, down) in
        [(Worse::Increase, true, false), (Worse::Decrease, false, true), (Worse::Either, true, true)]
    {
        let fails = |after: &[f64]| matches!(finding(&base, after, worse).1, Finding::Fails(_));
        assert_eq!((fails(&more), fails(&less)), (up, down), "{worse:?}");
    }
    let Finding::Fails(change) = finding(&base, &less, Worse::Decrease).1 else { panic!("it fails") };
    assert!(change.shift < -60.0 && change.before > 100.0, "told in the query's own sign: {change:?}");
}

#[test]
fn a_daily_peak_is_no_regression() {
    let (before, after) = latency(|t| if t > 0.0 { 3.0 } else { 1.0 });
    let seconds = Duration::from_secs;
    let baseline = Baseline::new(&before, seconds(60), seconds(15));
    let with =
        |references: &[Baseline]| judge(&rule(Worse::Increase), &baseline, references, &after, 90_000, 0.001);
    let yesterday = |times: f64| {
        let points: Vec<_> = after.iter().map(|p| Point { value: p.value * times, ..*p }).collect();
        Baseline::new(&points, seconds(60), seconds(15))
    };
    assert!(matches!(with(&[yesterday(1.0)]), Finding::Objection(_)));
    assert!(
        matches!(with(&[yesterday(0.3), yesterday(1.0)]), Finding::Objection(_)),
        "worse than each of them"
    );
    assert!(matches!(with(&[yesterday(0.3)]), Finding::Fails(_)));
    assert!(matches!(with(&[baseline.emptied()]), Finding::Open(_)), "silence does not convict");
}

/// The share of analyses of an innocent series that convict, without a tolerance.
fn false_rate(keep: f64, points: i64, spacing: i64, runs: u64, level: f64) -> f64 {
    let rule = Comparison { tolerance: 0.0, ..rule(Worse::Increase) };
    let convicted = (0..runs).filter(|seed| {
        let mut random = Random(seed * 7919);
        let mut value = random.normal();
        let all: Vec<Point> = (1 - points..=15 * MINUTE / spacing)
            .map(|i| {
                value = keep * value + (1.0 - keep * keep).sqrt() * random.normal();
                Point { at: i * spacing, value }
            })
            .collect();
        let (before, after) = all.split_at(usize::try_from(points).unwrap());
        let baseline = Baseline::new(before, Duration::ZERO, Duration::from_secs(15));
        (1..=after.len()).any(|end| {
            matches!(judge(&rule, &baseline, &[], &after[..end], 90_000, level), Finding::Fails(_))
        })
    });
    f64::from(u32::try_from(convicted.count()).unwrap()) / f64::from(u32::try_from(runs).unwrap())
}

#[test]
fn no_more_convictions_of_the_innocent_than_stated() {
    // At 20 %, so that few runs tell something; 0.3 is more than two standard errors of 100 runs above it.
    for (points, spacing) in [(60, 60_000), (20, 60_000), (20, 15_000)] {
        for keep in [0.0, 0.9] {
            let rate = false_rate(keep, points, spacing, 100, 0.2);
            assert!(rate < 0.3, "{points} points each {spacing} ms, correlated {keep}: {rate}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn neither_unit_nor_order_of_the_answer_matters(seed: u64, by in 0.5..4.0_f64, scale in 1e-6..1e6_f64) {
        let mut random = Random(seed);
        let before = series(-239, 0, |_| (0.3 * random.normal()).exp());
        let after = series(1, 40, |_| by * (0.3 * random.normal()).exp());
        let scaled = |points: &[Point]| -> Vec<Point> {
            points.iter().map(|p| Point { value: p.value * scale, ..*p }).collect()
        };
        let one = story(&rule(Worse::Either), 60, &before, &after, 0.001);
        let other = story(&rule(Worse::Either), 60, &scaled(&before), &scaled(&after), 0.001);
        match (one, other) {
            ((at, Finding::Fails(one)), (then, Finding::Fails(other))) => {
                prop_assert_eq!(at, then);
                prop_assert!((one.shift * scale / other.shift - 1.0).abs() < 1e-9);
                prop_assert!((one.chance / other.chance - 1.0).abs() < 1e-9);
            }
            (one, other) => prop_assert_eq!(one, other),
        }
    }

    #[test]
    fn worse_is_called_no_later(seed: u64, by in 1.0..4.0_f64, more in 1.0..4.0_f64) {
        let mut random = Random(seed);
        let before = series(-239, 0, |_| (0.2 * random.normal()).exp());
        let noise = series(1, 40, |_| (0.2 * random.normal()).exp());
        let called = |times: f64| {
            let after: Vec<_> = noise.iter().map(|p| Point { value: p.value * times, ..*p }).collect();
            match story(&rule(Worse::Increase), 60, &before, &after, 0.001) {
                (at, Finding::Fails(_)) => at,
                _ => i64::MAX,
            }
        };
        prop_assert!(called(by * more) <= called(by));
    }
}
