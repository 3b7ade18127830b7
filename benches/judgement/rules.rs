//! The rules that are compared. Each says after how many seconds it rolls back, if it does.
//!
//! Fixed limits are what an operator would set who knows the service: 1 % errors, and half more than the hour's usual 95th
//! percentile of latency. The queries look back over a minute.

use std::hint::black_box;
use std::time::{Duration, Instant};

use lastgood::engine::judge::slo::blocks::Point;
use lastgood::engine::judge::slo::burn_rate::{Round, judge as burn};
use lastgood::engine::judge::slo::comparison::{Baseline, Finding, SETTLE, judge as compare};
use lastgood::engine::judge::stats::rank::ranks;
use lastgood::engine::judge::stats::special::normal_quantile_of_tail;
use lastgood::engine::judge::stats::{median, sorted};
use lastgood::engine::policy::{BurnRate, Comparison, Windows, Worse};

use crate::family::Family;
use crate::trace::{AFTER, BEFORE, STEP, Trace};

/// A rule of the field, with its name.
type Rule = (&'static str, fn(&Trace) -> Option<i64>);

/// What our presets come to.
pub const PRESETS: [Rule; 2] =
    [("lastgood, preset `http`", preset), ("lastgood, preset `http` with limits", preset_limits)];

pub const RIVALS: [Rule; 9] = [
    ("Argo Rollouts, failureLimit 0, each minute", |trace| strikes(trace, 60, 1, false)),
    ("Argo Rollouts, failureLimit 3, each minute", |trace| strikes(trace, 60, 4, false)),
    ("Argo Rollouts, failureLimit 3, each 5 min", |trace| strikes(trace, 300, 4, false)),
    ("Flagger, threshold 1, each minute", |trace| strikes(trace, 60, 1, true)),
    ("Flagger, threshold 5, each minute", |trace| strikes(trace, 60, 5, true)),
    ("Flagger, threshold 10, each minute", |trace| strikes(trace, 60, 10, true)),
    ("PipeCD, failureLimit 1, each 5 min", pipecd),
    ("Kayenta, each 5 min", |trace| kayenta(trace, 300)),
    ("Kayenta, once after 15 min", |trace| kayenta(trace, AFTER)),
];

/// What our policy states.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// `falseRollbackRate`.
    pub rate: f64,
    /// `tolerance` of both comparisons.
    pub tolerance: f64,
    /// `minimumChange` of the latency, in seconds.
    pub slower: f64,
    /// `minimumChange` of the share of errors.
    pub failing: f64,
    /// Of the burn rate: seconds of the long window, and how many times faster than the objective allows.
    pub windows: &'static [(u64, f64)],
}

impl Policy {
    /// Whether a regression is as great as the policy says that it matters.
    pub fn concerns(&self, trace: &Trace) -> bool {
        let beyond = |(share, change): (f64, f64), least: f64| share >= self.tolerance && change >= least;
        beyond(trace.slower, self.slower) || beyond(trace.failing, self.failing)
    }
}

const RATIO_MAX: f64 = 0.01;
const LATENCY_TIMES: f64 = 1.5;
const LATENCY_MORE: f64 = 0.01;

fn values(from: i64, to: i64, step: i64, value: impl Fn(i64) -> Option<f64>) -> Vec<f64> {
    (from..=to).step_by(step as usize).filter_map(value).collect()
}

/// Points of a measure at each scrape.
fn points(from: i64, to: i64, value: &dyn Fn(i64) -> Option<f64>) -> Vec<Point> {
    let point = |t: i64| value(t).map(|value| Point { at: t * 1000, value });
    (from..=to).step_by(STEP as usize).filter_map(point).collect()
}

/// Ticks fall anywhere between two scrapes.
const LATE: i64 = 7;

/// When the first of our rules convicts; asked at each tick with how far the trace is known.
fn first(rules: &[&dyn Fn(i64) -> bool]) -> Option<i64> {
    (LATE..=AFTER).step_by(STEP as usize).find(|t| rules.iter().any(|fails| fails(*t)))
}

/// A measure compared with the hour before: it must rise by this share and by this much.
fn compared(
    value: &dyn Fn(i64) -> Option<f64>,
    window: i64,
    tolerance: f64,
    change: f64,
    level: f64,
) -> impl Fn(i64) -> bool + '_ {
    let (window, interval) =
        (Duration::from_secs(window.unsigned_abs()), Duration::from_secs(STEP.unsigned_abs()));
    let rule =
        Comparison { worse: Worse::Increase, tolerance, minimum_change: Some(change), also: Vec::new() };
    let baseline = Baseline::new(&points(-BEFORE + LATE, LATE - STEP, value), window, interval);
    let after = points(LATE, AFTER, value);
    move |t| {
        let until = after.partition_point(|point| point.at <= t * 1000);
        let from = SETTLE.as_millis() as i64;
        matches!(compare(&rule, &baseline, &[], &after[..until], from, level), Finding::Fails(_))
    }
}

/// An error budget of 0.1 % that is used up too fast within these seconds and the queries' window, with 5 failed requests at
/// least.
fn burning(trace: &Trace, (long, factor): (u64, f64), level: f64) -> impl Fn(i64) -> bool {
    let (long, short) = (Duration::from_secs(long), Duration::from_secs(trace.window.unsigned_abs()));
    let pair = Windows { long, short, factor };
    let rule = BurnRate { budget: 0.001, events: None, minimum_errors: 5, windows: vec![pair] };
    let rounds = |from: i64, to: i64| -> Vec<Round> {
        let round = |t: i64| Some(Round { at: t * 1000, ratio: trace.errors(t)?, events: trace.requests(t) });
        (from..=to).step_by(STEP as usize).filter_map(round).collect()
    };
    let (past, now) = (rounds(-BEFORE + LATE, LATE - STEP), rounds(LATE, AFTER));
    move |t| {
        let seen = now.partition_point(|round| round.at <= t * 1000);
        let from = SETTLE.as_millis() as i64;
        matches!(burn(&rule, pair, &past, &now[..seen], from, level), Finding::Fails(_))
    }
}

/// Ours: the latency and the errors compared with the hour before, and the errors' burn rate, measured each 15 seconds.
pub fn lastgood(trace: &Trace, policy: Policy) -> Option<i64> {
    // As `slo::level` shares it out.
    let level = policy.rate / (2 + policy.windows.len()) as f64;
    let (latency, errors) = (|t| trace.latency(0.95, t), |t| trace.errors(t));
    let slow = compared(&latency, trace.window, policy.tolerance, policy.slower, level);
    let failing = compared(&errors, trace.window, policy.tolerance, policy.failing, level);
    let burns: Vec<_> = policy.windows.iter().map(|pair| burning(trace, *pair, level)).collect();
    first(&[&slow, &failing, &|t| burns.iter().any(|burns| burns(t))])
}

/// Ours, as the preset `http` is by default with `compareLatency`: an objective of 99.9 %, and a 95th percentile that rises
/// by half and by 50 ms.
fn preset(trace: &Trace) -> Option<i64> {
    let level = 0.001 / 2.0;
    let latency = |t| trace.latency(0.95, t);
    first(&[&burning(trace, (300, 14.4), level), &compared(&latency, trace.window, 0.5, 0.05, level)])
}

/// Ours, as the preset `http` is with `maxErrors: 0.05` and a `maxLatency` of half more than the hour's usual: 3 of 5
/// measurements over it, or 4 of 6, one each 15 seconds; not where the last one before the sync was as bad.
fn preset_limits(trace: &Trace) -> Option<i64> {
    let latency = |t| trace.latency(0.99, t);
    let usual = median(&sorted(values(-BEFORE, 0, 60, latency))).unwrap_or(f64::INFINITY);
    let counted = |value: &dyn Fn(i64) -> Option<f64>, max: f64, failures: usize, of: i64| {
        let bad = |t: i64| value(t).is_some_and(|value| value > max);
        let before = (1..=of).find_map(|k| value(LATE - k * STEP));
        let innocent = before.is_none_or(|value| value > max);
        (LATE..=AFTER).step_by(STEP as usize).find(|t| {
            let latest = (0..of).map(|k| t - k * STEP).filter(|t| *t >= LATE);
            !innocent && latest.filter(|t| bad(*t)).count() >= failures
        })
    };
    let errors = counted(&|t| trace.errors(t), 0.05, 3, 5);
    errors.into_iter().chain(counted(&latency, LATENCY_TIMES * usual, 4, 6)).min()
}

/// Argo Rollouts (argo-rollouts v1.9.1, docs/features/analysis.md, utils/defaults/defaults.go): a measurement each
/// `interval`, degraded once more than `failureLimit` failed, which is 0 by default and 3 in its documentation's example each 5
/// minutes; a measurement without data is no failure here.
///
/// Flagger (v1.44.0, pkg/apis/flagger/v1beta1/canary.go, docs/gitbook/usage/metrics.md): a check each `interval`, 60 seconds by
/// default, rolled back once `threshold` checks failed in all, which is 1 if it is not set and 5 or 10 in its documentation's
/// examples; a metric without values is a failed check (issues 1011, 1035, 1098).
fn strikes(trace: &Trace, interval: i64, needed: usize, missing_fails: bool) -> Option<i64> {
    let usual = median(&sorted(values(-BEFORE, 0, 60, |t| trace.latency(0.95, t))));
    (interval..=AFTER)
        .step_by(interval as usize)
        .filter(|t| {
            let slow = trace.latency(0.95, *t).zip(usual);
            let slow = slow.map(|(now, usual)| now > (LATENCY_TIMES * usual).max(usual + LATENCY_MORE));
            let failing = trace.errors(*t).map(|ratio| ratio > RATIO_MAX);
            slow.unwrap_or(missing_fails) || failing.unwrap_or(missing_fails)
        })
        .nth(needed - 1)
}

/// PipeCD's automated deployment analysis with the strategy PREVIOUS (v0.57.0,
/// pkg/app/piped/executor/analysis/metrics_analyzer.go): Mann-Whitney U at 0.05, two-sided as the deviation is EITHER
/// by default, over the points of each interval; a failure more than `failureLimit`, by default 1, ends it. The deployment before
/// is the time before the sync here.
fn pipecd(trace: &Trace) -> Option<i64> {
    let metrics: [&dyn Fn(i64) -> Option<f64>; 2] = [&|t| trace.latency(0.95, t), &|t| trace.errors(t)];
    let mut failures = [0, 0];
    (300..=AFTER).step_by(300).find(|end| {
        metrics.iter().zip(&mut failures).any(|(metric, failures)| {
            let now = values(end - 300 + STEP, *end, STEP, metric);
            let before = values(end - 1200 + STEP, end - 900, STEP, metric);
            let differs = !now.is_empty() && !before.is_empty() && ranks(&before, &now).two_sided() < 0.05;
            *failures += usize::from(differs);
            *failures > 1
        })
    })
}

/// Kayenta's NetflixACAJudge (spinnaker.io/guides/user/canary/judge): a metric fails where the confidence interval (0.98) of the
/// Hodges-Lehmann shift lies beyond a quarter of the shift's estimate, to its bad side; the score is the share of metrics that do not,
/// and below the marginal limit of 75 the canary fails. The control is the hour before, a point each minute; judged each
/// `interval` over what there is.
fn kayenta(trace: &Trace, interval: i64) -> Option<i64> {
    let metrics: [&dyn Fn(i64) -> Option<f64>; 2] = [&|t| trace.latency(0.95, t), &|t| trace.errors(t)];
    (interval..=AFTER).step_by(interval as usize).find(|end| {
        metrics.iter().any(|metric| {
            let (control, canary) = (values(-BEFORE, 0, 60, metric), values(60, *end, 60, metric));
            let (n, m) = (control.len() as f64, canary.len() as f64);
            let mut shifts: Vec<f64> =
                canary.iter().flat_map(|y| control.iter().map(move |x| y - x)).collect();
            shifts.sort_unstable_by(f64::total_cmp);
            let Some(estimate) = median(&shifts) else { return false };
            let half = normal_quantile_of_tail(0.01) * (n * m * (n + m + 1.0) / 12.0).sqrt();
            let low = shifts[(n * m / 2.0 - half).floor().max(0.0) as usize];
            low > 0.25 * estimate.abs()
        })
    })
}

/// How long one tick takes for so many signals with an hour before and five minutes since the sync: a comparison each, the
/// baseline being prepared.
pub fn tick(signals: usize) -> Duration {
    let traces: Vec<_> = (0..100).map(|number| Trace::generate(Family::Usual, number)).collect();
    let rule = Comparison { worse: Worse::Increase, tolerance: 0.25, minimum_change: None, also: Vec::new() };
    let points = |trace: &Trace, from: i64, to: i64| -> Vec<Point> {
        let point = |t: i64| Some(Point { at: t * 1000, value: trace.latency(0.95, t)? });
        (from..=to).step_by(STEP as usize).filter_map(point).collect()
    };
    let (window, interval) = (Duration::from_secs(60), Duration::from_secs(15));
    let prepared: Vec<_> = traces
        .iter()
        .map(|trace| (Baseline::new(&points(trace, -BEFORE, 0), window, interval), points(trace, STEP, 300)))
        .collect();
    let began = Instant::now();
    for (baseline, after) in prepared.iter().cycle().take(signals) {
        black_box(compare(&rule, baseline, &[], after, SETTLE.as_millis() as i64, 0.001));
    }
    began.elapsed()
}
