//! From samples to values that have nothing to do with each other.
//!
//! Samples of `rate(x[1m])` each 15 seconds share most of their data, and latencies are like those of the minute before
//! anyway. A test that counts them as so many independent values convicts far more often than it says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::judge::stats::{median, real, sorted};

/// One number of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The number.
    pub value: f64,
}

/// How the samples of a series are cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// How far each sample looks back, in milliseconds.
    window: i64,
    /// The time from a sample to the next.
    spacing: i64,
    /// How much time a block covers, the look-back of its first sample included.
    length: i64,
}

impl Cut {
    /// Blocks of at least `length`, for samples this far apart that look back this far.
    pub fn new(window: Duration, spacing: i64, length: i64) -> Self {
        let window = milliseconds(window);
        Self { window, spacing, length: length.max(window).max(spacing) }
    }

    /// The same cut with blocks of `times` the length.
    #[must_use]
    pub fn longer(self, times: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "it saturates")]
        let length = (self.length as f64 * times.max(1.0)) as i64;
        Self { length, ..self }
    }

    /// How much time a block covers, in milliseconds.
    pub fn length(self) -> i64 {
        self.length
    }

    /// How far each sample looks back, in milliseconds.
    pub fn window(self) -> i64 {
        self.window
    }

    /// The time from a sample to the next, in milliseconds.
    pub fn spacing(self) -> i64 {
        self.spacing
    }

    /// The samples that look back no further than to `from`.
    pub fn since(self, points: &[Point], from: i64) -> &[Point] {
        let first = points.partition_point(|point| point.at < from.saturating_add(self.window));
        points.get(first..).unwrap_or_default()
    }

    /// The values of the complete blocks of ascending points: the median of each.
    ///
    /// No two blocks share data. One that lacks more than half of its samples is left out.
    pub fn blocks(self, points: &[Point]) -> Vec<f64> {
        // What a sample stands for, and how much later than due the next may come.
        let own = self.window.max(self.spacing);
        let slack = self.spacing / 4;
        let span = self.length - own;
        let expected = usize::try_from(span / self.spacing.max(1)).unwrap_or_default() + 1;
        let mut blocks = Vec::new();
        let mut rest = points;
        while let Some(first) = rest.first() {
            let end = first.at.saturating_add(span);
            let inside = rest.partition_point(|point| point.at <= end + slack);
            let block = rest.get(..inside).unwrap_or_default();
            let complete = rest.last().is_some_and(|newest| newest.at >= end - slack);
            if !complete {
                break;
            }
            if 2 * block.len() >= expected {
                blocks.extend(median(&sorted(block.iter().map(|point| point.value))));
            }
            let next = rest.partition_point(|point| point.at < end + own - slack);
            rest = rest.get(next.max(1)..).unwrap_or_default();
        }
        blocks
    }
}

/// The usual time from one point to the next, in milliseconds.
pub fn spacing(points: &[Point]) -> Option<i64> {
    let mut gaps: Vec<i64> =
        points.iter().zip(points.iter().skip(1)).map(|(one, next)| next.at - one.at).collect();
    let middle = gaps.len() / 2;
    (!gaps.is_empty()).then(|| *gaps.select_nth_unstable(middle).1)
}

/// A duration in milliseconds.
pub fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// How many of `blocks` blocks a correlation time makes one; not below 1.
///
/// The time is estimated from the few blocks at hand, so that its own error is added to it: by about its standard
/// error, which is that of N. Madras and A. D. Sokal, Journal of Statistical Physics 50 (1988), 109-186:
/// `sqrt(2 (2 M + 1) / n)` of it, where the sum ends after `M` steps; here `M` is the time itself. A time that could be 1
/// by that error is 1, unless there are too few blocks to show that values hang together.
pub fn factor(time: f64, blocks: usize) -> f64 {
    let error = |time: f64| (2.0 * (2.0 * time + 1.0) / real(blocks.max(1))).sqrt();
    if blocks >= TELLING && time <= 1.0 + error(1.0) { 1.0 } else { time * (1.0 + error(time)) }
}

/// Blocks from which on a series that hangs together shows it.
const TELLING: usize = 30;
