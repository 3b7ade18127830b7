//! The time before the sync, as statistics need it: prepared once, kept in memory, asked for again after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::blocks::Point;
use super::comparison::Baseline;
use crate::engine::action::When;
use crate::engine::event::SloAnswer;
use crate::engine::facts::Reading;
use crate::engine::policy::{Part, Policy, Rule, Slo};
use crate::engine::samples::{Labels, Sample};
use crate::engine::time::{earlier, later};

/// One time that is compared with, by series.
pub type Period = BTreeMap<Labels, Baseline>;

/// What is known of the times that one SLO is compared with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Past {
    /// The time right before the sync.
    pub baseline: Option<Period>,
    /// The same time of the day, by how long ago.
    pub references: BTreeMap<Duration, Period>,
    /// What a burn rate's parts gave right before the sync, by series.
    rounds: BTreeMap<Part, BTreeMap<Labels, Vec<Point>>>,
}

/// What each series gave.
type Series = Vec<(Labels, Vec<Point>)>;

/// As it is written into a record: lists, since in JSON only text can be a key.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    baseline: Option<Vec<(Labels, Baseline)>>,
    #[serde(default)]
    references: Vec<(Duration, Vec<(Labels, Baseline)>)>,
    #[serde(default)]
    rounds: Vec<(Part, Series)>,
}

impl From<Past> for Written {
    fn from(past: Past) -> Self {
        let list = |period: Period| period.into_iter().collect();
        Self {
            baseline: past.baseline.map(list),
            references: past.references.into_iter().map(|(ago, period)| (ago, list(period))).collect(),
            rounds: past
                .rounds
                .into_iter()
                .map(|(part, series)| (part, series.into_iter().collect()))
                .collect(),
        }
    }
}

impl From<Written> for Past {
    fn from(written: Written) -> Self {
        let period = |list: Vec<_>| list.into_iter().collect();
        Self {
            baseline: written.baseline.map(period),
            references: written.references.into_iter().map(|(ago, list)| (ago, period(list))).collect(),
            rounds: written
                .rounds
                .into_iter()
                .map(|(part, list)| (part, list.into_iter().collect()))
                .collect(),
        }
    }
}

impl Past {
    /// The times that are not known yet, each with what is to be asked for, of an analysis whose sync began at `synced_at`.
    pub fn unknown(
        past: Option<&Self>,
        slo: &Slo,
        policy: &Policy,
        synced_at: Timestamp,
    ) -> Vec<(When, Part)> {
        let step = policy.interval;
        let baseline = When::Range { from: earlier(synced_at, policy.baseline), to: synced_at, step };
        let mut unknown = Vec::new();
        let rule = match &slo.rule {
            Rule::Threshold { .. } | Rule::Boolean { .. } => return unknown,
            Rule::BurnRate(_) => {
                let is_unknown = |part: &Part| past.is_none_or(|past| !past.rounds.contains_key(part));
                return slo.parts().into_iter().filter(is_unknown).map(|part| (baseline, part)).collect();
            }
            Rule::Comparison(rule) => rule,
        };
        if past.is_none_or(|past| past.baseline.is_none()) {
            unknown.push((baseline, Part::Value));
        }
        for ago in &rule.also {
            if past.is_none_or(|past| !past.references.contains_key(ago)) {
                let from = earlier(synced_at, *ago);
                // As long as an analysis can last.
                let when = When::Range { from, to: later(from, policy.duration.saturating_mul(2)), step };
                unknown.push((when, Part::Value));
            }
        }
        unknown
    }

    /// Takes the answers to an order about one time in; where some of a query may still be answered, nothing is known yet.
    pub fn note(&mut self, slo: &Slo, policy: &Policy, synced_at: Timestamp, answers: &[&SloAnswer]) {
        for part in slo.parts() {
            let own: Vec<_> = answers.iter().copied().filter(|answer| answer.part == part).collect();
            let transient =
                |answer: &&SloAnswer| matches!(&answer.reading, Reading::Gap(gap) if gap.is_transient());
            if let Some(first) = own.first()
                && !own.iter().any(transient)
            {
                self.note_part(slo, policy, synced_at, (part, first.at), series(&own));
            }
        }
    }

    fn note_part(
        &mut self,
        slo: &Slo,
        policy: &Policy,
        synced_at: Timestamp,
        (part, first): (Part, Timestamp),
        series: BTreeMap<Labels, Vec<Point>>,
    ) {
        let rule = match &slo.rule {
            Rule::Threshold { .. } | Rule::Boolean { .. } => return,
            Rule::BurnRate(_) => {
                self.rounds.insert(part, series);
                return;
            }
            Rule::Comparison(rule) => rule,
        };
        let prepared = |(labels, points): (Labels, Vec<Point>)| {
            let baseline = Baseline::new(&points, slo.looks_back, policy.interval);
            (labels, baseline)
        };
        let period: Period = series.into_iter().map(prepared).collect();
        if first >= earlier(synced_at, policy.baseline) {
            self.baseline = Some(period);
            return;
        }
        let began = |ago: &&Duration| earlier(synced_at, **ago) <= first;
        // The oldest that it can be: they lie further apart than an analysis takes.
        if let Some(ago) = rule.also.iter().filter(began).min() {
            self.references.insert(*ago, period);
        }
    }

    /// Whether all parts of a burn rate are known.
    pub(super) fn knows(&self, slo: &Slo) -> bool {
        slo.parts().iter().all(|part| self.rounds.contains_key(part))
    }

    /// The series of a part that had values before the sync.
    pub fn labels(&self, part: Part) -> impl Iterator<Item = &Labels> {
        let compared = self.baseline.as_ref().filter(|_| part.is_value());
        let burning = self.rounds.get(&part);
        compared.into_iter().flat_map(BTreeMap::keys).chain(burning.into_iter().flat_map(BTreeMap::keys))
    }

    /// How many series of a part had values.
    pub(super) fn series(&self, part: Part) -> usize {
        self.rounds.get(&part).map_or(0, BTreeMap::len)
    }

    /// What a part of a burn rate gave for a series.
    pub(super) fn points(&self, part: Part, labels: &Labels) -> &[Point] {
        self.rounds.get(&part).and_then(|series| series.get(labels)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The numbers of each series that has any, oldest first.
fn series(answers: &[&SloAnswer]) -> BTreeMap<Labels, Vec<Point>> {
    let mut series: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
    for answer in answers {
        if let Some(point) = point(&Sample::new(answer.at, answer.reading.clone())) {
            series.entry(answer.series.clone()).or_default().push(point);
        }
    }
    for points in series.values_mut() {
        points.sort_by_key(|point| point.at);
    }
    series
}

/// A sample as the statistics take it, if it is a number.
pub(super) fn point(sample: &Sample) -> Option<Point> {
    sample.value().map(|value| Point { at: sample.at.as_millisecond(), value })
}
