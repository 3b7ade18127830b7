//! Whether a rule that goes by statistics can convict at all: tried out with the clearest change that there could be.

use std::time::Duration;

use super::{Step, shown};
use crate::engine::judge::slo::blocks::{Point, milliseconds};
use crate::engine::judge::slo::burn_rate::{Round, judge as burns};
use crate::engine::judge::slo::comparison::{Baseline, Finding, SETTLE, judge};
use crate::engine::policy::{BurnRate, Comparison as Rule, Worse};
use crate::policy::check::Report;
use crate::policy::code::Code;
use crate::policy::file::{self, Comparison, PolicyFile, Slo};
use crate::policy::preset;
use crate::policy::slo::looks_back;

/// Measurements that are tried; what is not reached by then is not reached.
const ROUNDS_MAX: i64 = 5000;

/// The times of a policy that decide how much is seen.
#[derive(Clone, Copy)]
struct Times {
    baseline: Duration,
    duration: Duration,
    interval: Duration,
    window: Duration,
}

/// Warns of a comparison that not even the clearest change could fail.
pub(super) fn comparison(policy: &PolicyFile, index: usize, slo: &Slo, report: &mut Report) {
    let Some(rule) = &slo.comparison else { return };
    let analysis = &policy.analysis;
    let times = Times {
        baseline: analysis.baseline.0,
        duration: analysis.duration.0,
        interval: analysis.interval.0,
        window: looks_back(slo, policy),
    };
    let level = level(policy);
    let rule = as_rule(rule);
    if convicts(&rule, times, level) {
        return;
    }
    let longer = |more: Times| convicts(&rule, more, level);
    let help = if longer(Times { duration: times.duration.saturating_mul(4), ..times }) {
        "lengthen `analysis.duration`, or shorten the window in `[…]`"
    } else if longer(Times { baseline: times.baseline.saturating_mul(4), ..times }) {
        "lengthen `analysis.baseline`"
    } else {
        "lengthen `analysis.duration` and `analysis.baseline`, lower `tolerance`, or raise `analysis.falseRollbackRate`"
    };
    let message = format!(
        "no change could fail this comparison: {} before the sync and {} after it, of which the first {} do not count, are too little",
        shown(times.baseline),
        shown(times.duration),
        shown(SETTLE)
    );
    let path = [Step::Key("slos".to_owned()), Step::Index(index), Step::Key("comparison".to_owned())];
    report.warn(&path, Code::ComparisonTooShort, None, message, help);
}

/// What each test may err, as `judge::slo::level` shares it out.
fn level(policy: &PolicyFile) -> f64 {
    let tests = |slo: &Slo| match (&slo.comparison, &slo.burn_rate) {
        (Some(_), _) => 1,
        (None, Some(rule)) => rule.windows.len(),
        (None, None) => 0,
    };
    let tests: usize = preset::slos(policy).iter().map(tests).sum();
    policy.analysis.false_rollback_rate.0 / f64::from(u32::try_from(tests.max(1)).unwrap_or(u32::MAX))
}

/// Warns of a pair of windows that not even a failure of everything could fail.
pub(super) fn burn_rate(policy: &PolicyFile, index: usize, slo: &Slo, report: &mut Report) {
    let Some(file_rule) = &slo.burn_rate else { return };
    let Ok(rule) = file_rule.rule() else { return };
    let (analysis, level) = (&policy.analysis, level(policy));
    for (i, pair) in file_rule.windows.iter().enumerate() {
        let times = Times {
            baseline: analysis.baseline.0,
            duration: analysis.duration.0,
            interval: analysis.interval.0,
            window: pair.short.0,
        };
        if burns_up(&rule, i, times, level) {
            continue;
        }
        let longer = |more: Times| burns_up(&rule, i, more, level);
        let help = if longer(Times { duration: times.duration.saturating_mul(4), ..times }) {
            "lengthen `analysis.duration`, or shorten the short window"
        } else if longer(Times { baseline: times.baseline.saturating_mul(4), ..times }) {
            "lengthen `analysis.baseline`, or count `events`"
        } else {
            "count `events`, or lengthen `analysis.duration` and `analysis.baseline`"
        };
        let message = format!(
            "not even a failure of everything could be told: {} before the sync and {} after it, of which the first {} do not count, are too little for windows of {} and {}",
            shown(times.baseline),
            shown(times.duration),
            shown(SETTLE),
            pair.long,
            pair.short
        );
        let mut path =
            vec![Step::Key("slos".to_owned()), Step::Index(index), Step::Key("burnRate".to_owned())];
        path.extend([Step::Key("windows".to_owned()), Step::Index(i)]);
        report.warn(&path, Code::BurnRateTooShort, None, message, help);
    }
}

/// Whether a pair convicts within the analysis where everything fails that never failed before.
fn burns_up(rule: &BurnRate, pair: usize, times: Times, level: f64) -> bool {
    let Some(pair) = rule.windows.get(pair) else { return true };
    let interval = milliseconds(times.interval).max(1);
    let rounds = |time: Duration| (milliseconds(time) / interval).min(ROUNDS_MAX);
    let events = rule.events.as_ref().map(|_| 1e6);
    let round = |ratio: f64| move |i: i64| Round { at: i * interval, ratio, events };
    let before: Vec<Round> = (-rounds(times.baseline)..0).map(round(0.0)).collect();
    let after: Vec<Round> = (0..=rounds(times.duration)).map(round(1.0)).collect();
    (1..=after.len()).any(|seen| {
        let seen = after.get(..seen).unwrap_or_default();
        matches!(burns(rule, *pair, &before, seen, milliseconds(SETTLE), level), Finding::Fails(_))
    })
}

fn as_rule(rule: &Comparison) -> Rule {
    Rule {
        worse: match rule.worse {
            file::Worse::Increase => Worse::Increase,
            file::Worse::Decrease => Worse::Decrease,
            file::Worse::Either => Worse::Either,
        },
        tolerance: rule.tolerance.0,
        minimum_change: rule.minimum_change,
        // What the same time before was like cannot make it easier.
        also: Vec::new(),
    }
}

/// Whether a change that is as clear as can be is found within the analysis.
fn convicts(rule: &Rule, times: Times, level: f64) -> bool {
    let interval = milliseconds(times.interval).max(1);
    let rounds = |time: Duration| (milliseconds(time) / interval).min(ROUNDS_MAX);
    // So large that neither share nor unit of the least change matters.
    let usual = 1000.0 * rule.minimum_change.unwrap_or_default().max(1.0);
    let changed = match rule.worse {
        Worse::Decrease => 0.0,
        Worse::Increase | Worse::Either => usual * (10.0 + rule.tolerance),
    };
    let before: Vec<Point> = (-rounds(times.baseline)..0)
        .map(|round| Point { at: round * interval, value: usual + noise(round) })
        .collect();
    let baseline = Baseline::new(&before, times.window, times.interval);
    let after: Vec<Point> =
        (0..=rounds(times.duration)).map(|round| Point { at: round * interval, value: changed }).collect();
    let from = milliseconds(SETTLE);
    (1..=after.len()).any(|seen| {
        let points = after.get(..seen).unwrap_or_default();
        matches!(judge(rule, &baseline, &[], points, from, level), Finding::Fails(_))
    })
}

/// Values around 0 that follow no pattern: the fractions of multiples of an irrational number.
fn noise(round: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "rounds are few")]
    let multiple = round as f64 * 1.324_717_957_244_746;
    multiple.rem_euclid(1.0) - 0.5
}
