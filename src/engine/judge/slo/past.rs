//! The time before the sync, as comparisons need it: prepared once, kept in memory, asked for again after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::blocks::Point;
use super::comparison::Baseline;
use crate::engine::action::When;
use crate::engine::event::SloAnswer;
use crate::engine::facts::Reading;
use crate::engine::policy::{Comparison, Policy, Slo};
use crate::engine::samples::{Labels, Sample};
use crate::engine::time::{earlier, later};

/// One time that is compared with, by series.
pub type Period = BTreeMap<Labels, Baseline>;

/// What is known of the times that one SLO is compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// The time right before the sync.
    pub baseline: Option<Period>,
    /// The same time of the day, by how long ago.
    pub references: BTreeMap<Duration, Period>,
}

impl Past {
    /// The times that are not known yet, of an analysis whose sync began at `synced_at`.
    pub fn unknown(
        past: Option<&Self>,
        rule: &Comparison,
        policy: &Policy,
        synced_at: Timestamp,
    ) -> Vec<When> {
        let step = policy.interval;
        let mut unknown = Vec::new();
        if past.is_none_or(|past| past.baseline.is_none()) {
            unknown.push(When::Range { from: earlier(synced_at, policy.baseline), to: synced_at, step });
        }
        for ago in &rule.also {
            if past.is_none_or(|past| !past.references.contains_key(ago)) {
                let from = earlier(synced_at, *ago);
                // As long as an analysis can last.
                unknown.push(When::Range { from, to: later(from, policy.duration.saturating_mul(2)), step });
            }
        }
        unknown
    }

    /// Takes the answers to one query over one time in; where some may still be answered, nothing is known yet.
    pub fn note(
        &mut self,
        slo: &Slo,
        rule: &Comparison,
        policy: &Policy,
        synced_at: Timestamp,
        answers: &[&SloAnswer],
    ) {
        let Some(first) = answers.first() else { return };
        let transient =
            |answer: &&&SloAnswer| matches!(&answer.reading, Reading::Gap(gap) if gap.is_transient());
        if answers.iter().any(|answer| transient(&answer)) {
            return;
        }
        let mut series: BTreeMap<&Labels, Vec<Point>> = BTreeMap::new();
        for answer in answers {
            series
                .entry(&answer.series)
                .or_default()
                .extend(point(&Sample::new(answer.at, answer.reading.clone())));
        }
        let prepared = |(labels, mut points): (&Labels, Vec<Point>)| {
            points.sort_by_key(|point| point.at);
            (!points.is_empty())
                .then(|| (labels.clone(), Baseline::new(&points, slo.looks_back, policy.interval)))
        };
        let period: Period = series.into_iter().filter_map(prepared).collect();
        if first.at >= earlier(synced_at, policy.baseline) {
            self.baseline = Some(period);
            return;
        }
        let began = |ago: &&Duration| earlier(synced_at, **ago) <= first.at;
        // The oldest that it can be: they lie further apart than an analysis takes.
        if let Some(ago) = rule.also.iter().filter(began).min() {
            self.references.insert(*ago, period);
        }
    }
}

/// A sample as the statistics take it, if it is a number.
pub(super) fn point(sample: &Sample) -> Option<Point> {
    sample.value().map(|value| Point { at: sample.at.as_millisecond(), value })
}
