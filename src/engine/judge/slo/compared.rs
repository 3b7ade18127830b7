//! A comparison with the past within an analysis: what counts, and the sentence.

use super::blocks::{Point, milliseconds};
use super::comparison::{Baseline, Change, Finding as Compared, SETTLE, judge as compare};
use super::past::{Past, point};
use super::{Case, Finding, Normal, number};
use crate::engine::judge::stats::real;
use crate::engine::policy::{Comparison, Part};
use crate::engine::samples::{Labels, Sample};

/// Judges one series against what it was before the sync.
pub(super) fn judge(case: &Case<'_>, rule: &Comparison, labels: &Labels) -> Finding {
    let open = |why: &str| Finding::Open(why.to_owned());
    let Some((past, period)) = case.past.and_then(|past| past.baseline.as_ref().map(|b| (past, b))) else {
        return open("the time before the sync is not known yet");
    };
    let Some(synced_at) = case.synced_at else { return open("it is compared once the sync has succeeded") };
    let Some(baseline) = period.get(labels) else {
        return Finding::Silent("there is no value of the time before the sync to compare with".to_owned());
    };
    let Some(references) = references(past, rule, labels, baseline) else {
        return open("the same time before is not known yet");
    };
    let samples = case.counting(Part::Value, labels);
    let points: Vec<Point> = samples.iter().filter_map(point).collect();
    if points.is_empty() {
        let newest = samples
            .last()
            .map_or("no measurement yet".to_owned(), |s| super::show(&case.slo.rule, &s.reading));
        return Finding::Open(format!("nothing to compare, newest {newest}"));
    }
    // By the series of the time before: their number cannot change any more.
    let level = case.level / real(period.len());
    let from = synced_at.max(case.warm_at).as_millisecond();
    let from = from.max(synced_at.as_millisecond().saturating_add(milliseconds(SETTLE)));
    match compare(rule, baseline, &references, &points, from, level) {
        Compared::Fails(change) => convicts(&change),
        Compared::Passes => Finding::Passes,
        Compared::Objection(why) => Finding::Objection(why),
        Compared::Open(why) => Finding::Open(why),
    }
}

/// What the series was at the same time before; none while that is not known.
fn references(past: &Past, rule: &Comparison, labels: &Labels, like: &Baseline) -> Option<Vec<Baseline>> {
    let then = |ago| past.references.get(ago).map(|period| period.get(labels).cloned());
    let known: Option<Vec<_>> = rule.also.iter().map(then).collect();
    Some(known?.into_iter().map(|reference| reference.unwrap_or_else(|| like.emptied())).collect())
}

fn convicts(change: &Change) -> Finding {
    let Change { before, shift, chance, level, failing, passing_before } = *change;
    let share =
        if before == 0.0 { String::new() } else { format!("{:+.0} %, ", 100.0 * shift / before.abs()) };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let why = format!(
        "{} instead of {} before the sync ({share}p = {chance:.1e} of at most {level:.1e})",
        number(before + shift),
        number(before),
    );
    let normal = Some(Normal::Usual { median: before, shift });
    Finding::Convicts {
        why,
        failing: count(failing),
        needed: 1,
        passing_before: count(passing_before),
        normal,
    }
}

/// Whether a value is nearer to what was usual than to what failed; any value is, where that is not known.
pub(super) fn is_usual(normal: Option<Normal>, sample: &Sample) -> bool {
    let Some(value) = sample.value() else { return false };
    match normal {
        Some(Normal::Usual { median, shift }) => (value - median) * shift.signum() < shift.abs() / 2.0,
        Some(Normal::Below { .. }) | None => true,
    }
}
