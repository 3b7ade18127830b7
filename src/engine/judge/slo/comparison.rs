//! The comparison with the application's own past.
//!
//! Three tests share the level. The rank test finds small regressions once there is enough evidence, and assumes only that
//! blocks of an innocent change could have come in any order. The other two find big breaks in a few measurements: they ask
//! how rare values so far beyond those before would be, if the tail is as heavy as Student's t with four degrees of freedom.
//! Each looks once for each block, and `stats::spending` shares its level out among its looks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::blocks::{self, Cut, Point, factor};
use crate::engine::judge::stats::rank::{least_chance, ranks, shift};
use crate::engine::judge::stats::spending::{even_level_of, level_of};
use crate::engine::judge::stats::{correlation, median, real, sorted};
use crate::engine::policy::{Comparison, Worse};

/// How long after the sync nothing convicts by comparison: cold caches, connections that are made anew and just-in-time
/// compilers make the first values of a good revision bad, and last 30 to 90 seconds.
pub const SETTLE: Duration = Duration::from_secs(90);

/// The shortest block, in milliseconds: what happens twice within it is one event.
const BLOCK_MIN: i64 = 30_000;

/// Blocks since the sync that are looked at; a change that comes late is not drowned by the time before it.
const NEWEST: usize = 10;

/// How many stretches as long as what is compared with them the baseline must hold: of fewer it is not known how they
/// differ from each other.
const STRETCHES: usize = 4;

/// The share of the level that the rank test has; the other two have half of the rest each.
const RANK_SHARE: f64 = 0.5;

/// Blocks that the test of complete separation takes at most.
const SEPARATE: usize = 3;

/// How fast the chance of a deviation falls with its size: by its fourth power, as for Student's t with four degrees of freedom,
/// which is heavier than what latencies show once they are aggregated over a window.
const TAIL_INDEX: i32 = 4;

/// The share of the baseline that lies below an unusual value.
const USUAL: (usize, usize) = (19, 20);

/// Chances above this are no sign of a change, where the test could have shown one.
const UNREMARKABLE: f64 = 0.05;

/// The fewest blocks or samples, before as after, that say anything.
const FEWEST: usize = 3;

/// What the time before the sync looked like: made once for an analysis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// How samples become blocks of an independent value each.
    cut: Cut,
    /// How they become blocks that share no data.
    unit: Cut,
    /// Seen so that worse is greater, for a greater and for a smaller value being worse.
    sides: [Side; 2],
}

/// The values of a baseline, seen so that worse is greater.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    /// In the order of time.
    blocks: Vec<f64>,
    /// The samples themselves, ascending.
    ascending: Vec<f64>,
    /// The median of the last samples before the sync.
    last: Option<f64>,
}

impl Baseline {
    /// Prepares ascending points of the time before the sync, of a query that looks back over `window`.
    ///
    /// `interval` is how far apart samples are meant to be, for where there are too few to tell.
    pub fn new(points: &[Point], window: Duration, interval: Duration) -> Self {
        let spacing = blocks::spacing(points).unwrap_or_else(|| blocks::milliseconds(interval)).max(1);
        let unit = Cut::new(window, spacing, BLOCK_MIN);
        let apart = unit.blocks(points);
        let cut = unit.longer(factor(correlation::time(&apart), apart.len()));
        let sides = [1.0, -1.0].map(|sign| Side {
            blocks: cut.blocks(points).into_iter().map(|value| value * sign).collect(),
            ascending: sorted(points.iter().map(|point| point.value * sign)),
            last: median(&sorted(points.iter().rev().take(FEWEST).map(|point| point.value * sign))),
        });
        Self { cut, unit, sides }
    }

    /// One that knows nothing.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let nothing = || Side { blocks: Vec::new(), ascending: Vec::new(), last: None };
        Self { sides: [nothing(), nothing()], ..self.clone() }
    }
}

/// What the comparison says.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// It is worse, and neither by chance nor by little.
    Fails(Change),
    /// It was seen, and is not worse.
    Passes,
    /// It failed before the sync as well: the rest of a sentence that the series begins.
    Objection(&'static str),
    /// Neither can be said; why.
    Open(String),
}

/// A change for the worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The median before.
    pub before: f64,
    /// How much further the values are now.
    pub shift: f64,
    /// The chance of it, were nothing changed.
    pub chance: f64,
    /// The chance that would have sufficed.
    pub level: f64,
    /// Measurements since the sync that show it.
    pub failing: usize,
    /// Blocks before the sync that did not.
    pub passing_before: usize,
}

/// Compares the points since the sync with the baseline, and with each reference.
///
/// Only samples that look back no further than to `from` count, in milliseconds: the end of the sync and `SETTLE`. An innocent
/// series is convicted with at most the chance `level`, however often this is asked.
pub fn judge(
    rule: &Comparison,
    baseline: &Baseline,
    references: &[Baseline],
    points: &[Point],
    from: i64,
    level: f64,
) -> Finding {
    let counting = baseline.unit.since(points, from);
    let one = |greater: bool, level: f64| {
        let sign = if greater { 1.0 } else { -1.0 };
        let side = |of: &Baseline| {
            let [up, down] = of.sides.clone();
            if greater { up } else { down }
        };
        let turned: Vec<Point> =
            counting.iter().map(|point| Point { value: point.value * sign, ..*point }).collect();
        let references: Vec<Side> = references.iter().map(side).collect();
        let [up, down] = &baseline.sides;
        let before = if greater { up } else { down };
        let case = Case { rule, baseline, before, references: &references, level };
        match case.judge(&turned) {
            Finding::Fails(change) => {
                Finding::Fails(Change { before: change.before * sign, shift: change.shift * sign, ..change })
            }
            other => other,
        }
    };
    match rule.worse {
        Worse::Increase => one(true, level),
        Worse::Decrease => one(false, level),
        Worse::Either => match (one(true, level / 2.0), one(false, level / 2.0)) {
            (fails @ Finding::Fails(_), _) | (_, fails @ Finding::Fails(_)) => fails,
            (Finding::Passes, other) | (other, _) => other,
        },
    }
}

/// One direction, seen so that worse is greater.
struct Case<'a> {
    rule: &'a Comparison,
    baseline: &'a Baseline,
    before: &'a Side,
    references: &'a [Side],
    level: f64,
}

impl Case<'_> {
    /// Judges the points that count.
    fn judge(&self, points: &[Point]) -> Finding {
        let before = &self.before.blocks;
        let Some(middle) = median(&self.before.ascending).filter(|_| self.before.ascending.len() >= FEWEST)
        else {
            return Finding::Open(
                "there are too few values of the time before the sync to compare with".to_owned(),
            );
        };
        let newest: Vec<f64> = points.iter().rev().take(FEWEST).map(|point| point.value).collect();
        let Some(now) = median(&sorted(newest.iter().copied())).filter(|_| newest.len() >= FEWEST) else {
            return Finding::Open(format!("{} of {FEWEST} values that count yet", newest.len()));
        };
        let need = (self.rule.tolerance * middle.abs()).max(self.rule.minimum_change.unwrap_or(0.0));
        let after = self.baseline.cut.blocks(points);
        let rank = self.rank(before, &after, |shift| shift.max(now - middle) >= need);
        let tests = [self.tail(points, middle), self.separation(before, &after, middle), rank];
        let convicts = |test: &Test| test.chance <= test.level && test.shift > 0.0 && test.shift >= need;
        if let Some(test) = tests.into_iter().flatten().find(convicts) {
            // What recovers is a blip, whatever its beginning looked like; it may be worse still than what was usual.
            let lately = after.iter().rev().take(SEPARATE).map(|value| value - middle);
            if now - middle < lately.fold(test.shift, f64::max) / 2.0 {
                return Finding::Open("it was worse, and recovers".to_owned());
            }
            let passing_before = before.iter().filter(|value| **value - middle < test.shift / 2.0).count();
            let Test { shift, chance, level, values: failing } = test;
            let change = Change { before: middle, shift, chance, level, failing, passing_before };
            return self.objection(middle, need, shift, &newest).unwrap_or(Finding::Fails(change));
        }
        let seen = rank.map_or(now - middle, |test| test.shift.max(now - middle));
        // Noise may exceed the tolerance; what a test that could have convicted finds likely is noise.
        let likely = rank.is_some_and(|test| test.level > 0.0 && test.chance > UNREMARKABLE);
        if seen <= 0.0 || seen < need || likely {
            return Finding::Passes;
        }
        Finding::Open("it may be worse, and may be chance".to_owned())
    }

    /// The rank test on the newest blocks; untested where it could not convict yet, or a shift so small does not matter.
    fn rank(&self, before: &[f64], after: &[f64], matters: impl Fn(f64) -> bool) -> Option<Test> {
        let level = self.level * RANK_SHARE;
        let most = NEWEST.min(before.len() / STRETCHES);
        let newest = after.get(after.len().saturating_sub(most.max(1))..)?;
        let shift = shift(before, newest)?;
        let mut test = Test { shift, chance: 1.0, level: 0.0, values: newest.len() };
        // Looks at which not even the clearest break could convict would only spend.
        let first = (2..=most).find(|m| least_chance(before.len(), *m) <= even_level_of(1, level));
        let Some(look) =
            first.and_then(|first| (after.len() + 1).checked_sub(first)).filter(|look| *look > 0)
        else {
            return Some(test);
        };
        test.level = even_level_of(u32::try_from(look).unwrap_or(u32::MAX), level);
        // Nearly always it does not matter, and then nothing is computed.
        if matters(shift) {
            test.chance = ranks(before, newest).greater();
        }
        // The correlation time is only an estimate: what the baseline did by itself for as long is no change.
        if test.chance <= test.level {
            let now = median(&sorted(newest.iter().copied()))?;
            let mut stretches = before.windows(newest.len());
            if stretches.any(|values| median(&sorted(values.iter().copied())).is_some_and(|then| then >= now))
            {
                test.chance = 1.0 / real(before.len());
            }
        }
        Some(test)
    }

    /// The test of the newest blocks where they lie beyond all before.
    ///
    /// That they do has the chance of one order among all; that they do so by far has less, by the tail.
    fn separation(&self, before: &[f64], after: &[f64], middle: f64) -> Option<Test> {
        let look = after.len().checked_sub(1).filter(|look| *look > 0)?;
        let newest = after.get(after.len().saturating_sub(SEPARATE.min(before.len() / STRETCHES))..)?;
        let greatest = before.iter().copied().max_by(f64::total_cmp)? - middle;
        let later_half = after.get(after.len() / 2..).unwrap_or_default();
        let mildest = newest.iter().chain(later_half).copied().min_by(f64::total_cmp)? - middle;
        if newest.len() < 2 || greatest <= 0.0 || mildest <= greatest {
            return None;
        }
        let beyond: f64 = newest.iter().map(|value| (greatest / (value - middle)).powi(TAIL_INDEX)).product();
        Some(Test {
            shift: mildest,
            chance: least_chance(before.len(), newest.len()) * beyond,
            level: self.tail_level(look),
            values: newest.len(),
        })
    }

    /// The test of the newest samples as if they were one value; `None` where there are none or the baseline has no tail.
    fn tail(&self, points: &[Point], middle: f64) -> Option<Test> {
        let values = &self.before.ascending;
        let independent = self.before.blocks.len();
        // One is enough: of a baseline that drifts as a whole, how far it went in its time is known.
        if independent == 0 {
            return None;
        }
        // By I. Weissman, Journal of the American Statistical Association 73 (1978), 812-815: from an order statistic
        // outwards along a power law. From the greatest twentieth, unless its values are those of the middle.
        let anchors = [(values.len() / 20).max(1), 1].map(|k| {
            let share = (real(k) / real(values.len())).max(1.0 / real(independent + 1));
            (share, values.iter().nth_back(k - 1).map_or(0.0, |value| value - middle))
        });
        let (share, anchor) = anchors.into_iter().find(|(_, anchor)| *anchor > 0.0)?;
        let greatest = values.last()? - middle;
        let (look, from) = looks(points, self.baseline.unit)?;
        // The time that the points are of begins a window before the first.
        let began = points.first()?.at.saturating_sub(self.baseline.unit.window());
        let half = began.midpoint(points.last()?.at);
        let taken = points.get(from.min(points.partition_point(|point| point.at < half))..)?;
        let mildest = taken.iter().map(|point| point.value - middle).min_by(f64::total_cmp)?;
        let chance = if mildest > greatest { share * (anchor / mildest).powi(TAIL_INDEX) } else { 1.0 };
        Some(Test { shift: mildest, chance, level: self.tail_level(look), values: taken.len() })
    }

    fn tail_level(&self, look: usize) -> f64 {
        level_of(u32::try_from(look).unwrap_or(u32::MAX), self.level * (1.0 - RANK_SHARE) / 2.0)
    }

    /// What speaks against convicting, though the values are worse.
    fn objection(&self, middle: f64, need: f64, seen: f64, newest: &[f64]) -> Option<Finding> {
        // Noise may reach half as far; what the last values say counts where they were unusual themselves.
        let values = &self.before.ascending;
        let unusual =
            |last: f64| values.partition_point(|value| *value < last) * USUAL.1 >= values.len() * USUAL.0;
        if self.before.last.is_some_and(|last| last - middle >= seen / 2.0 && unusual(last)) {
            return Some(Finding::Objection("began to get worse before the sync"));
        }
        for reference in self.references {
            let then = median(&reference.ascending).filter(|_| reference.ascending.len() >= FEWEST);
            let Some(then) = then else {
                return Some(Finding::Open("there are too few values of the same time before".to_owned()));
            };
            let change = shift(&reference.ascending, newest)?;
            if change <= 0.0 || change < need.max(self.rule.tolerance * then.abs()) {
                return Some(Finding::Objection("is no worse than at the same time before"));
            }
        }
        None
    }
}

/// What one test says.
#[derive(Clone, Copy, Debug)]
struct Test {
    shift: f64,
    chance: f64,
    level: f64,
    values: usize,
}

/// The latest look of the tail test, and the first sample that it takes: three measurements for the first look, and then a
/// look for each block that shares no data with the one before.
fn looks(points: &[Point], unit: Cut) -> Option<(usize, usize)> {
    let last = FEWEST - 1;
    let (mut look, mut place) = (1, last);
    let mut at = points.get(last)?.at;
    loop {
        let due = at.saturating_add(unit.length() - unit.spacing() / 4);
        let next = points.partition_point(|point| point.at < due);
        let Some(point) = points.get(next) else { break };
        (look, place, at) = (look + 1, next, point.at);
    }
    Some((look, place - last))
}

#[cfg(test)]
mod tests;
