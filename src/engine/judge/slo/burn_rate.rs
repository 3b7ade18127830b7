//! An error budget that is used up too fast, as a count of failed events that chance does not explain.
//!
//! That it matters is shown by the burn rate over the long and over the short window (*The Site Reliability Workbook*, chapter 5);
//! that it is no accident of little traffic, by the exact binomial tail. All is read from values over the short
//! window: those that share no data add up to any longer one, which then never reaches back over the sync.

use super::blocks::{self, Cut, Point, factor};
use super::comparison::Finding;
use crate::engine::judge::stats::binomial::{at_least, clopper_pearson};
use crate::engine::judge::stats::rank::least_chance;
use crate::engine::judge::stats::spending::level_of;
use crate::engine::judge::stats::{correlation, real};
use crate::engine::policy::{BurnRate, Windows};

/// The confidence with which the innocent share of errors is not above what is tested against.
const CONFIDENCE: f64 = 0.98;

/// How many events of a count are taken for one where the baseline cannot tell: errors come in company, since callers
/// try again.
const COMPANY: f64 = 2.0;

/// Up to this many failed events are one: `increase` extrapolates.
const SINGLE: f64 = 1.5;

/// Values before the sync from which on their spread is known.
const TELLING: usize = 30;

/// One reading over the short window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The share of events that failed.
    pub ratio: f64,
    /// How many events there were, where that is asked.
    pub events: Option<f64>,
}

/// What rounds that share no data add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    rounds: usize,
    ratios: f64,
    failed: f64,
    events: f64,
}

impl Sum {
    fn of(rounds: &[Round]) -> Self {
        rounds.iter().fold(Self::default(), |sum, round| {
            let events = round.events.unwrap_or_default().max(0.0);
            Self {
                rounds: sum.rounds + 1,
                ratios: sum.ratios + round.ratio,
                failed: sum.failed + events * round.ratio.clamp(0.0, 1.0),
                events: sum.events + events,
            }
        })
    }

    fn ratio(self) -> f64 {
        if self.events > 0.0 { self.failed / self.events } else { self.ratios / real(self.rounds.max(1)) }
    }
}

/// Judges one pair of windows from ascending rounds over its short one, before and since the sync.
///
/// Only rounds that look back no further than to `from` count. An innocent series is convicted with at most the chance
/// `level`, however often this is asked: divide the signal's level by its pairs.
pub fn judge(
    rule: &BurnRate,
    pair: Windows,
    before: &[Round],
    after: &[Round],
    from: i64,
    level: f64,
) -> Finding {
    let limit = pair.factor * rule.budget;
    let short = blocks::milliseconds(pair.short);
    let counting = after.get(after.partition_point(|round| round.at < from.saturating_add(short))..);
    let counting = counting.unwrap_or_default();
    let Some(newest) = counting.last() else { return Finding::Open("no value that counts yet".to_owned()) };
    let apart = disjoint(counting, short);
    let begin =
        apart.last().map_or(0, |last| last.at).saturating_sub(blocks::milliseconds(pair.long) - short);
    let recent = apart.get(apart.partition_point(|round| round.at < begin)..).unwrap_or_default();
    let sum = Sum::of(recent);
    let known = counting.iter().all(|round| round.events.is_some());
    if known && sum.events <= 0.0 {
        return Finding::Open("there were no events".to_owned());
    }
    let few = known && sum.failed < f64::from(rule.minimum_errors);
    if sum.ratio() < limit || (newest.ratio < limit && few) {
        return Finding::Passes;
    }
    if newest.ratio < limit {
        // One good window is no acquittal.
        return Finding::Open("it was using up its budget too fast, and recovers".to_owned());
    }
    let past = disjoint(before, short);
    let passing_before = past.iter().filter(|round| round.ratio < limit).count();
    let Some(last) = past.last() else {
        return Finding::Open("there is no value of the time before the sync".to_owned());
    };
    // A single failed event is no sign of anything, whatever share it is.
    let burned = |round: &Round| {
        round.ratio >= limit && round.events.is_none_or(|events| events * round.ratio > SINGLE)
    };
    if passing_before == 0 || burned(last) || before.last().is_some_and(burned) {
        return Finding::Objection("was using up its budget as fast before the sync");
    }
    let level = level_of(u32::try_from(apart.len()).unwrap_or(u32::MAX), level);
    let (chance, usual) = if known { counted(rule, &past, pair, sum) } else { ordered(&past, recent, limit) };
    if few {
        return Finding::Open(format!(
            "{:.0} of the {} failed events that it takes",
            sum.failed, rule.minimum_errors
        ));
    }
    if chance > level {
        return Finding::Open("it may be using up its budget too fast, and may be chance".to_owned());
    }
    Finding::Fails(super::comparison::Change {
        before: usual,
        shift: sum.ratio() - usual,
        chance,
        level,
        failing: recent.iter().filter(|round| round.ratio >= limit).count(),
        passing_before,
    })
}

/// The chance of so many failed events, were the share no worse than the objective allows and than it was; and what it was.
fn counted(rule: &BurnRate, past: &[Round], pair: Windows, sum: Sum) -> (f64, f64) {
    let before = Sum::of(past);
    let company = company(past, before, pair);
    let (failed, events) = (before.failed / company, before.events / company);
    // Without events before, nothing is known, and everything is usual.
    let usual = if events > 0.0 { clopper_pearson(failed, events, CONFIDENCE).high } else { 1.0 };
    (at_least(sum.failed / company, sum.events / company, usual.max(rule.budget)), before.ratio())
}

/// How many events of a count are worth one independent one: the spread beyond the binomial (Pearson's chi-squared by its
/// degrees of freedom), and how long rounds hang together.
fn company(past: &[Round], before: Sum, pair: Windows) -> f64 {
    let share = before.ratio();
    let spread: f64 = past
        .iter()
        .map(|round| (round.events.unwrap_or_default(), round.ratio))
        .filter(|(events, _)| *events > 0.0)
        .map(|(events, ratio)| events * (ratio - share).powi(2) / (share * (1.0 - share)))
        .sum();
    if past.len() < TELLING || before.failed < real(TELLING) || share >= 1.0 {
        return COMPANY;
    }
    let points: Vec<Point> = past.iter().map(|round| Point { at: round.at, value: round.ratio }).collect();
    let cut = Cut::new(pair.short, blocks::milliseconds(pair.short), 0);
    let together = factor(correlation::time(&cut.blocks(&points)), points.len());
    (spread / real(past.len() - 1)).max(1.0) * together
}

/// Without counts: the chance of the one order of rounds in which all bad ones come last.
fn ordered(past: &[Round], recent: &[Round], limit: f64) -> (f64, f64) {
    let all = |rounds: &[Round], bad: bool| rounds.iter().all(|round| (round.ratio >= limit) == bad);
    let chance =
        if all(past, false) && all(recent, true) { least_chance(past.len(), recent.len()) } else { 1.0 };
    (chance, Sum::of(past).ratio())
}

/// The rounds that share no data, from the first on.
fn disjoint(rounds: &[Round], window: i64) -> Vec<Round> {
    let mut apart: Vec<Round> = Vec::new();
    // A scrape that comes a little early is no overlap worth a whole round.
    let slack = window / 16;
    for round in rounds.iter().filter(|round| round.ratio.is_finite()) {
        if apart.last().is_none_or(|last| round.at >= last.at.saturating_add(window - slack)) {
            apart.push(*round);
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::judge::stats::tests::Random;

    const PAIR: Windows =
        Windows { long: Duration::from_secs(300), short: Duration::from_secs(60), factor: 14.4 };

    /// Errors at this share among so many requests a minute, each 15 seconds with their minute's window.
    fn rounds(from: i64, to: i64, rate: f64, share: f64, seed: u64) -> Vec<Round> {
        let mut random = Random(seed);
        let quarter = rate / 4.0;
        let own: Vec<f64> = (from - 3..=to)
            .map(|_| {
                let mean = quarter * share;
                // Poisson by its own definition: exponential times until the quarter is over.
                let mut count = 0.0;
                let mut time = -random.share().ln();
                while time < mean {
                    count += 1.0;
                    time -= random.share().ln();
                }
                count
            })
            .collect();
        own.windows(4)
            .zip(from..)
            .map(|(four, i)| Round {
                at: i * 15_000,
                ratio: (four.iter().sum::<f64>() / rate).min(1.0),
                events: Some(rate),
            })
            .collect()
    }

    fn rule(minimum_errors: u32) -> BurnRate {
        BurnRate { budget: 0.001, events: None, minimum_errors, windows: vec![PAIR] }
    }

    fn told(rate: f64, usual: f64, now: f64) -> String {
        let (before, after) = (rounds(-240, 0, rate, usual, 1), rounds(1, 40, rate, now, 2));
        let mut last = String::new();
        for end in 1..=after.len() {
            let seen = &after[..end];
            last = match judge(&rule(5), PAIR, &before, seen, 90_000, 0.001) {
                Finding::Fails(_) => return format!("fails after {} s", seen[end - 1].at / 1000),
                Finding::Passes => "passes".to_owned(),
                Finding::Objection(why) => format!("objection: {why}"),
                Finding::Open(why) => format!("open: {why}"),
            };
        }
        last
    }

    #[test]
    fn much_is_called_at_once_and_little_with_evidence() {
        assert_eq!(told(6000.0, 0.0005, 0.0005), "passes");
        assert_eq!(told(6000.0, 0.0005, 0.5), "fails after 150 s");
        assert_eq!(told(6000.0, 0.0005, 0.02), "fails after 150 s");
        assert_eq!(told(60.0, 0.0005, 0.5), "fails after 150 s");
        assert_eq!(told(60.0, 0.0005, 0.05), "fails after 390 s");
        assert_eq!(told(60.0, 0.0005, 0.005), "passes");
        assert_eq!(told(600.0, 0.05, 0.05), "objection: was using up its budget as fast before the sync");
    }

    #[test]
    fn one_failed_request_of_three_convicts_nobody() {
        let before = rounds(-240, 0, 3.0, 0.0, 1);
        let one = |ratio: f64| -> Vec<Round> {
            (1..=40).map(|i| Round { at: i * 15_000, ratio, events: Some(3.0) }).collect()
        };
        assert!(matches!(judge(&rule(5), PAIR, &before, &one(0.34)[..10], 90_000, 0.001), Finding::Open(_)));
        assert!(matches!(judge(&rule(5), PAIR, &before, &one(1.0), 90_000, 0.001), Finding::Fails(_)));
        assert!(
            matches!(judge(&rule(5), PAIR, &[], &one(1.0), 90_000, 0.001), Finding::Open(_)),
            "never seen well"
        );
    }

    #[test]
    fn one_good_window_acquits_nobody_but_where_too_few_failed_to_tell() {
        let before = rounds(-240, 0, 600.0, 0.0, 1);
        let after = |events: f64| -> Vec<Round> {
            let ratio = |i| if i < 25 { 0.03 } else { 0.0 };
            (1..=29).map(|i| Round { at: i * 15_000, ratio: ratio(i), events: Some(events) }).collect()
        };
        let says = |events: f64| judge(&rule(5), PAIR, &before, &after(events), 90_000, 0.0);
        assert!(matches!(says(600.0), Finding::Open(why) if why.ends_with("recovers")));
        assert_eq!(says(30.0), Finding::Passes);
    }

    #[test]
    fn one_failed_event_right_before_the_sync_shields_nobody() {
        let says = |failed: f64| {
            let mut before = rounds(-240, 0, 30.0, 0.0, 1);
            for round in before.iter_mut().rev().take(4) {
                round.ratio = failed / 30.0;
            }
            let after: Vec<_> =
                (1..=20).map(|i| Round { at: i * 15_000, ratio: 0.9, events: Some(30.0) }).collect();
            judge(&rule(5), PAIR, &before, &after, 90_000, 0.001)
        };
        assert!(matches!(says(1.0), Finding::Fails(_)), "{:?}", says(1.0));
        assert!(matches!(says(2.0), Finding::Objection(_)), "{:?}", says(2.0));
    }

    #[test]
    fn without_counts_the_order_has_to_tell() {
        let before: Vec<_> =
            rounds(-240, 0, 60.0, 0.0, 1).into_iter().map(|r| Round { events: None, ..r }).collect();
        let after: Vec<_> = (1..=40).map(|i| Round { at: i * 15_000, ratio: 0.3, events: None }).collect();
        let says =
            |before: &[Round], until: usize| judge(&rule(5), PAIR, before, &after[..until], 90_000, 0.001);
        assert!(matches!(says(&before, 10), Finding::Open(_)), "one window");
        assert!(matches!(says(&before, 18), Finding::Fails(_)), "three windows, after an hour of none");
        assert!(matches!(says(&before[220..], 18), Finding::Open(_)), "after five minutes of none");
    }

    #[test]
    fn no_more_convictions_of_the_innocent_than_stated() {
        // Errors at the limit of the objective, 60 a minute: 20 % stated, 300 runs.
        let convicted = (0..300).filter(|seed| {
            let (before, after) =
                (rounds(-240, 0, 60.0, 0.001, 2 * seed), rounds(1, 60, 60.0, 0.001, 2 * seed + 1));
            let rule = BurnRate { budget: 1e-5, ..rule(1) };
            (10..=after.len()).any(|end| {
                matches!(judge(&rule, PAIR, &before, &after[..end], 90_000, 0.2), Finding::Fails(_))
            })
        });
        assert!(convicted.count() < 75);
    }
}
