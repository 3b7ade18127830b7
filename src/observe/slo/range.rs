//! What a query gave over a time, in steps: asked for piece by piece, put together, and read step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::Deserialize;

use super::answer::{self, Number, OfSeries, count, finite, labels};
use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::Series;
pub use crate::engine::samples::Labels;
use crate::engine::time::later;

/// Steps of one answer. Prometheus refuses more than 11,000 (`exceeded maximum resolution of 11,000 points per timeseries`).
const STEPS_MAX: u32 = 11_000;

/// Bytes of one answer that are read: a hundred series of all steps.
pub(super) const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One series over a time.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its values, which may be NaN or infinite, oldest first; steps without one are left out.
    pub samples: Vec<(Timestamp, f64)>,
}

/// The first and the last time of each piece.
pub(super) fn chunks(
    from: Timestamp,
    to: Timestamp,
    step: Duration,
) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let step = step.max(Duration::from_millis(1));
    let length = step.saturating_mul(STEPS_MAX - 1);
    let after = move |start: &Timestamp| start.checked_add(length.saturating_add(step)).ok();
    std::iter::successors(Some(from), after)
        .take_while(move |start| *start <= to)
        .map(move |start| (start, later(start, length).min(to)))
}

#[derive(Deserialize)]
struct Matrix {
    result: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    metric: Labels,
    #[serde(default)]
    values: Vec<(f64, Number)>,
    /// Native histograms, of which none are numbers.
    #[serde(default)]
    histograms: Vec<serde::de::IgnoredAny>,
}

/// Reads one answer.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Vec<RangeSeries>, Gap> {
    let matrix: Matrix = answer::read(status, body)?;
    if matrix.result.iter().any(|row| !row.histograms.is_empty()) {
        return Err(answer::histogram());
    }
    let series = matrix.result.into_iter().map(|Row { metric, values, .. }| {
        let samples = values.into_iter().map(|(at, Number(value))| Ok((moment(at)?, value)));
        Ok(RangeSeries { labels: metric, samples: samples.collect::<Result<_, Gap>>()? })
    });
    series.collect()
}

/// Reads seconds since 1970, which Prometheus writes with milliseconds.
fn moment(seconds: f64) -> Result<Timestamp, Gap> {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "out of range is cut off, and refused by the next line"
    )]
    let millis = (seconds * 1000.0).round() as i64;
    Timestamp::from_millisecond(millis)
        .map_err(|_| Gap::ServerError(format!("its answer holds a time that is none: {seconds}")))
}

/// Several answers put together.
#[derive(Default)]
pub(super) struct Merged(BTreeMap<Labels, Vec<(Timestamp, f64)>>);

impl Merged {
    /// Adds the answer of a later time.
    pub(super) fn add(&mut self, series: Vec<RangeSeries>) {
        for RangeSeries { labels, mut samples } in series {
            self.0.entry(labels).or_default().append(&mut samples);
        }
    }

    /// All series, ordered by their labels.
    pub(super) fn into_series(self) -> Vec<RangeSeries> {
        self.0.into_iter().map(|(labels, samples)| RangeSeries { labels, samples }).collect()
    }
}

/// What is read at each of the times: a number, or why there is none, or one for each series.
pub(super) fn readings(
    answer: &Result<Vec<RangeSeries>, Gap>,
    times: &[Timestamp],
    step: Duration,
    wanted: Series,
) -> Vec<(Timestamp, OfSeries)> {
    let at = |at: &Timestamp| {
        let found = answer.as_ref().map_err(Gap::clone).and_then(|series| all(series, *at, step, wanted));
        let found = found.unwrap_or_else(|gap| vec![(Labels::new(), Reading::Gap(gap))]);
        found.into_iter().map(|one| (*at, one)).collect::<Vec<_>>()
    };
    times.iter().flat_map(at).collect()
}

/// The series that have a sample of this step.
fn all(series: &[RangeSeries], at: Timestamp, step: Duration, wanted: Series) -> Result<Vec<OfSeries>, Gap> {
    let there = series.iter().filter_map(|one| Some((one, sample(one, at, step)?)));
    let there: Vec<(&RangeSeries, f64)> = there.collect();
    count(there.len(), wanted)?;
    let read = |(one, value): (&RangeSeries, f64)| {
        let labels = labels(&one.labels, wanted)?;
        Ok((labels, finite(value).map_or_else(Reading::Gap, Reading::Value)))
    };
    there.into_iter().map(read).collect()
}

/// The sample of a step: the newest that is not after it, and after the step before.
///
/// Not simply the one of the same time: servers cut times to milliseconds, and a query frontend may move all steps to
/// multiples of their length (Thanos' `--query-range.align-range-with-step`, its default).
fn sample(series: &RangeSeries, at: Timestamp, step: Duration) -> Option<f64> {
    let after = series.samples.partition_point(|(then, _)| *then <= at);
    let (then, value) = series.samples.get(after.checked_sub(1)?)?;
    (at.duration_since(*then).unsigned_abs() < step).then_some(*value)
}
