//! Data that stops to come, for policies that take that for a failure.

use jiff::Timestamp;

use super::Case;
use crate::engine::facts::{Gap, Reading};
use crate::engine::judge::{Breach, Outcome, Signal};
use crate::engine::policy::{Part, Rule};
use crate::engine::samples::{Labels, Line, Sample};
use crate::engine::time::{elapsed, human};

/// Convicts where the query gave values before the sync, and since has given none for as long as the policy says.
///
/// Only answers count that say that there is nothing; no answer says nothing.
pub(super) fn judge(case: &Case<'_>) -> Option<Breach> {
    let limit = case.slo.fails_when_missing?;
    let part = case.slo.main_part();
    // A series of its own that has values since is data too.
    let values = case.after.of(part).flat_map(|(_, line)| line.samples()).filter(|s| s.value().is_some());
    let newest_value = values.map(|sample| sample.at).max().unwrap_or(Timestamp::MIN);
    let samples = case.counting(part, &Labels::new());
    let samples = samples.get(samples.partition_point(|s| s.at <= newest_value)..)?;
    let missing = samples.iter().rev().take_while(|s| is_missing(s)).count();
    let (first, newest) = (samples.get(samples.len() - missing)?, samples.last()?);
    if elapsed(first.at, newest.at) < limit {
        return None;
    }
    let passing_before = passing_before(case);
    let failing = u32::try_from(missing).unwrap_or(u32::MAX);
    let since = human(elapsed(first.at, newest.at));
    let why = format!("no value for {since}, newest {}", super::show(&case.slo.rule, &newest.reading));
    let signal = Signal::Slo(case.slo.name.clone());
    (passing_before > 0).then_some(Breach { signal, why, failing, needed: 2, passing_before })
}

fn is_missing(sample: &Sample) -> bool {
    matches!(&sample.reading, Reading::Gap(Gap::NoData | Gap::NotANumber))
}

/// Values of the time before that speak for the SLO: where the newest are missing or bad, it failed before.
fn passing_before(case: &Case<'_>) -> u32 {
    let count = match &case.slo.rule {
        rule @ (Rule::Threshold { .. } | Rule::Boolean { .. }) => {
            let newest = |line: &Line| line.newest().map(|s| (s.at, super::outcome(rule, &s.reading)));
            let latest: Option<(Timestamp, Outcome)> =
                case.before.of(Part::Value).filter_map(|(_, line)| newest(line)).max_by_key(|(at, _)| *at);
            let passes = |s: &&Sample| super::outcome(rule, &s.reading) == Outcome::Pass;
            let passing =
                case.before.of(Part::Value).flat_map(|(_, line)| line.samples()).filter(passes).count();
            if latest.is_some_and(|(_, outcome)| outcome == Outcome::Pass) { passing } else { 0 }
        }
        Rule::Comparison(_) => {
            let period = case.past.and_then(|past| past.baseline.as_ref());
            // A period holds only series that had values.
            period.map_or(0, std::collections::BTreeMap::len)
        }
        Rule::BurnRate(_) => case.past.map_or(0, |past| past.series(case.slo.main_part())),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}
