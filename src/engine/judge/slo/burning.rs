//! A burn rate within an analysis: what counts, and the sentence.

use std::time::Duration;

use super::blocks::{Point, milliseconds};
use super::burn_rate::{Round, judge as burns};
use super::comparison::{Change, Finding as Burns, SETTLE};
use super::past::{Past, point};
use super::{Case, Finding, Normal, number};
use crate::engine::judge::stats::real;
use crate::engine::policy::{BurnRate, Part, Windows};
use crate::engine::samples::{Labels, Sample};

/// How far the count of events may lie from the share that it goes with, as a part of the window: an answer that others had
/// asked for as well is a little older.
const BESIDE: i64 = 8;

/// Judges one series; each pair of windows convicts alone, and all must pass.
pub(super) fn judge(case: &Case<'_>, rule: &BurnRate, labels: &Labels) -> Finding {
    let open = |why: &str| Finding::Open(why.to_owned());
    let Some(past) = case.past.filter(|past| past.knows(case.slo)) else {
        return open("the time before the sync is not known yet");
    };
    let Some(synced_at) = case.synced_at else { return open("it is judged once the sync has succeeded") };
    let settled = synced_at.as_millisecond().saturating_add(milliseconds(SETTLE));
    let from = synced_at.max(case.warm_at).as_millisecond().max(settled);
    let (mut objection, mut unclear) = (None, None);
    for pair in &rule.windows {
        // By the series of the time before: their number cannot change any more.
        let level = case.level / real(past.series(Part::Ratio(pair.short)).max(1));
        let (before, after) = (before(past, rule, pair.short, labels), after(case, rule, pair.short, labels));
        match burns(rule, *pair, &before, &after, from, level) {
            Burns::Fails(change) => return convicts(rule, pair, &change),
            Burns::Passes => {}
            Burns::Objection(why) => objection = Some(why),
            Burns::Open(why) => unclear = unclear.or(Some(format!("{why}{}", newest(case, pair, labels)))),
        }
    }
    match (objection, unclear) {
        (Some(why), _) => Finding::Objection(why),
        // Of a series that begins after the sync there is no share that is usual.
        (None, Some(why)) if past.points(case.slo.main_part(), labels).is_empty() => Finding::Silent(why),
        (None, Some(why)) => Finding::Open(why),
        (None, None) => Finding::Passes,
    }
}

/// Why there is no newer value, if there is none.
fn newest(case: &Case<'_>, pair: &Windows, labels: &Labels) -> String {
    let gap = |part: Part| {
        let newest = case.counting(part, labels).last().filter(|sample| sample.value().is_none());
        newest.map(|sample| format!(", newest {}", super::show(&case.slo.rule, &sample.reading)))
    };
    gap(Part::Ratio(pair.short)).or_else(|| gap(Part::Events(pair.short))).unwrap_or_default()
}

fn before(past: &Past, rule: &BurnRate, short: Duration, labels: &Labels) -> Vec<Round> {
    let points = |part| past.points(part, labels);
    rounds(rule, short, points(Part::Ratio(short)), points(Part::Events(short)))
}

fn after(case: &Case<'_>, rule: &BurnRate, short: Duration, labels: &Labels) -> Vec<Round> {
    let points = |part| case.counting(part, labels).iter().filter_map(point).collect::<Vec<_>>();
    rounds(rule, short, &points(Part::Ratio(short)), &points(Part::Events(short)))
}

/// Shares with the counts beside them; where the count is asked for and missing, the share says nothing either.
fn rounds(rule: &BurnRate, short: Duration, ratios: &[Point], events: &[Point]) -> Vec<Round> {
    let distance = milliseconds(short) / BESIDE;
    let beside = |at: i64| {
        let next = events.partition_point(|event| event.at < at);
        let near = [next.checked_sub(1), Some(next)].into_iter().flatten().filter_map(|i| events.get(i));
        near.min_by_key(|event| event.at.abs_diff(at)).filter(|event| (event.at - at).abs() <= distance)
    };
    let round = |ratio: &Point| {
        let count = beside(ratio.at).map(|event| event.value);
        let whole = rule.events.is_none() || count.is_some();
        whole.then_some(Round { at: ratio.at, ratio: ratio.value, events: count })
    };
    ratios.iter().filter_map(round).collect()
}

fn convicts(rule: &BurnRate, pair: &Windows, change: &Change) -> Finding {
    let Change { before, shift, chance, level, failing, passing_before } = *change;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let why = format!(
        "uses its error budget up {} times too fast (limit {}): {} of all events fail, {} did before the sync (p = {chance:.1e} of at most {level:.1e})",
        number((before + shift) / rule.budget),
        number(pair.factor),
        number(before + shift),
        number(before),
    );
    let limit = rule.limit_of(pair);
    let normal = Some(Normal::Below { window: pair.short, limit });
    Finding::Convicts {
        why,
        failing: count(failing),
        needed: 1,
        passing_before: count(passing_before),
        normal,
    }
}

/// Whether the share of errors is below what convicted.
pub(super) fn is_below(rule: &BurnRate, normal: Option<Normal>, part: Part, sample: &Sample) -> bool {
    let Part::Ratio(short) = part else { return true };
    let limit = match normal {
        Some(Normal::Below { limit, .. }) => limit,
        Some(Normal::Usual { .. }) | None => rule.limit(short),
    };
    sample.value().is_some_and(|value| value < limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::Reading;
    use crate::engine::fixture::{at, policy};
    use crate::engine::judge::slo::{Broken, level, passes_again};
    use crate::engine::policy::{Comparison, Policy, Rule, Slo, Worse};
    use crate::engine::samples::Lines;

    const MINUTE: Duration = Duration::from_secs(60);

    fn rule(counts: bool) -> BurnRate {
        let pair = |minutes, factor| Windows { long: 5 * minutes * MINUTE, short: minutes * MINUTE, factor };
        let events = counts.then(|| crate::engine::template::Template::parse("x[{{ window }}]").unwrap());
        BurnRate { budget: 0.01, events, minimum_errors: 5, windows: vec![pair(1, 10.0), pair(2, 5.0)] }
    }

    /// Shares and counts at these seconds; the seconds at which there is a round, with its count.
    fn check(counts: bool, ratios: &[i64], events: &[i64], expected: &[(i64, Option<f64>)]) {
        let points = |seconds: &[i64], value| -> Vec<Point> {
            seconds.iter().map(|second| Point { at: second * 1000, value }).collect()
        };
        let got = rounds(&rule(counts), MINUTE, &points(ratios, 0.1), &points(events, 60.0));
        let got: Vec<_> = got.iter().map(|round| (round.at / 1000, round.events)).collect();
        assert_eq!(got, expected, "{ratios:?} {events:?}");
    }

    #[test]
    fn a_count_goes_with_the_share_beside_it() {
        let sixty = Some(60.0);
        check(true, &[0, 15, 30], &[0, 15, 30], &[(0, sixty), (15, sixty), (30, sixty)]);
        check(true, &[0, 15, 30], &[13, 33], &[(15, sixty), (30, sixty)]);
        check(true, &[0, 15], &[], &[]);
        check(false, &[0, 15], &[], &[(0, None), (15, None)]);
    }

    #[test]
    fn each_pair_of_windows_is_a_test_beside_the_comparisons() {
        let query = || crate::engine::template::Template::parse("x[{{ window }}]").unwrap();
        let comparison =
            Comparison { worse: Worse::Increase, tolerance: 0.25, minimum_change: None, also: Vec::new() };
        let rules = [Rule::BurnRate(rule(true)), Rule::Comparison(comparison)];
        let slos = rules.into_iter().map(|rule| Slo::new("a", query(), rule)).collect();
        let policy = Policy { slos, false_rollback_rate: 0.003, ..policy() };
        assert!((level(&policy) - 0.001).abs() < 1e-12);
    }

    #[test]
    fn it_has_recovered_where_the_pair_that_convicted_is_below_its_limit() {
        let below = |normal: Option<Normal>, window: Duration, share: f64| {
            let sample = Sample::new(at(0), Reading::Value(share));
            is_below(&rule(true), normal, Part::Ratio(window), &sample)
        };
        let normal = Normal::Below { window: MINUTE, limit: 0.1 };
        assert!(below(Some(normal), MINUTE, 0.09) && !below(Some(normal), MINUTE, 0.1));
        let query = crate::engine::template::Template::parse("x[{{ window }}]").unwrap();
        let slo = Slo::new("a", query, Rule::BurnRate(rule(true)));
        let mut lines = Lines::default();
        for (second, minute) in [(0, 0.05), (60, 0.05)] {
            let mut add = |window: Duration, share| {
                let sample = Sample::new(at(second), Reading::Value(share));
                lines.add(Part::Ratio(window), &Labels::new(), sample, 9);
            };
            add(MINUTE, minute);
            add(2 * MINUTE, 0.9);
        }
        let again = |normal| {
            let broken = [Broken { series: Labels::new(), normal }];
            passes_again(&slo, &broken, Some(&lines), 2)
        };
        assert_eq!(again(Some(normal)), Ok(()), "what did not convict may be as it always was");
        assert!(again(None).is_err());
        assert!(!below(None, MINUTE, 0.1) && below(None, 2 * MINUTE, 0.04) && !below(None, 2 * MINUTE, 0.06));
    }
}
