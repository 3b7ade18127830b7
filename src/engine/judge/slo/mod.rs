//! SLO queries: from their samples before and after the sync to what they say about it, by their rule.

pub mod blocks;
pub mod burn_rate;
mod burning;
mod compared;
pub mod comparison;
mod missing;
pub mod past;
mod strikes;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use past::Past;
pub use strikes::{number, outcome, show, wanted};

use super::{Breach, Outcome, Signal};
use crate::engine::event::SloAnswer;
use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::{Part, Policy, Rule, Series, Slo};
use crate::engine::samples::{Labels, Line, Lines, SERIES_MAX, Sample};

/// What the measurements before and after the sync say together.
#[derive(Clone, Debug, PartialEq)]
pub enum SloJudgement {
    /// It convicts the sync, by these of its series; by none where it is that there are none.
    Convicts(Breach, Vec<Broken>),
    /// It passes, seen often enough.
    Passes,
    /// Neither; why.
    Open(String),
}

/// A series that convicted: by it a recovery is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Broken {
    /// Which one.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub series: Labels,
    /// What is good again, where fixed limits do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<Normal>,
}

/// By what a recovery is known, where fixed limits do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Normal {
    /// What was usual before a comparison failed.
    Usual {
        /// The median before.
        median: f64,
        /// How far from it the values were.
        shift: f64,
    },
    /// What a burn rate must be below again.
    Below {
        /// The short window of the pair that failed.
        window: Duration,
        /// The share of errors that was too much.
        limit: f64,
    },
}

/// What is known about one SLO.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The SLO.
    pub slo: &'a Slo,
    /// What was read of the time before the sync.
    pub before: &'a Lines,
    /// What was read since.
    pub after: &'a Lines,
    /// The time before as statistics need it; none while it is not known.
    pub past: Option<&'a Past>,
    /// When the sync had succeeded; none while it has not.
    pub synced_at: Option<Timestamp>,
    /// From when on values count.
    pub warm_at: Timestamp,
    /// The chance with which an innocent change may be convicted by one test of this SLO in the whole analysis.
    pub level: f64,
}

impl<'a> Case<'a> {
    /// What fixed limits need: all samples count.
    pub fn new(slo: &'a Slo, before: &'a Lines, after: &'a Lines) -> Self {
        Self { slo, before, after, past: None, synced_at: None, warm_at: Timestamp::MIN, level: 0.0 }
    }

    /// The samples of a series since the sync that count.
    fn counting(&self, part: Part, series: &Labels) -> &'a [Sample] {
        let samples = self.after.line(part, series).map(Line::samples).unwrap_or_default();
        samples.get(samples.partition_point(|s| s.at < self.warm_at)..).unwrap_or_default()
    }
}

/// What one series says.
enum Finding {
    Convicts {
        why: String,
        failing: u32,
        needed: u32,
        passing_before: u32,
        normal: Option<Normal>,
    },
    Passes,
    /// It fails, and that cannot convict; the rest of a sentence that the series begins.
    Objection(&'static str),
    /// It says nothing yet; why.
    Open(String),
    /// It says nothing, and never did: it is not missed where another series says something. Why, else.
    Silent(String),
}

/// Series that a sentence names beside the first.
const NAMED_MAX: usize = 3;

/// Rounds of measurements of one SLO that an analysis keeps at most: they stand in the state object.
pub const KEPT_MAX: u32 = 1000;

/// Bytes of one sample in the state object: `[1795183200000,-1.2345678901234567e-300],`.
const SAMPLE_BYTES: usize = 41;

/// Bytes of the labels of a series in the state object, as they are where somebody chose which matter.
const LABELS_BYTES: usize = 100;

/// Bytes of samples that one analysis may keep: etcd refuses objects above 1.5 MB, and beside them the state object holds
/// rollbacks with their commits and files, and what waits to be recorded.
pub const KEPT_BYTES_MAX: usize = 300_000;

/// Bytes of the state object that the samples of an SLO take at most: those since the sync, and where no statistics are
/// made of them, those of the time before.
pub fn kept_bytes(slo: &Slo, policy: &Policy) -> usize {
    let times = if slo.rule.tests() > 0 { 1 } else { 2 };
    let samples = kept(slo, policy) * SAMPLE_BYTES;
    let series = match slo.series {
        Series::Refuse => samples,
        // Beside them stands what is known of none.
        Series::Each => (SERIES_MAX + 1) * (samples + LABELS_BYTES),
    };
    slo.parts().len() * times * series
}

/// How many samples of one series an SLO looks at.
pub fn kept(slo: &Slo, policy: &Policy) -> usize {
    let rounds = |time: Duration| {
        let rounds = time.as_millis() / policy.interval.as_millis().max(1) + 2;
        u32::try_from(rounds).unwrap_or(KEPT_MAX).min(KEPT_MAX)
    };
    let missing = slo.fails_when_missing.map(rounds).unwrap_or_default();
    let own = match &slo.rule {
        Rule::Threshold { strikes, .. } | Rule::Boolean { strikes, .. } => strikes.of,
        // What lies before the end of the sync does not count, and an analysis takes twice its duration at most.
        Rule::Comparison(_) | Rule::BurnRate(_) => rounds(policy.duration.saturating_mul(2)),
    };
    own.max(missing) as usize
}

/// The chance with which one statistical test may convict an innocent change, so that all of them keep to the policy's.
///
/// A union bound: whatever the tests have to do with each other, the chances add up to no more.
pub fn level(policy: &Policy) -> f64 {
    let tests: usize = policy.slos.iter().map(|slo| slo.rule.tests()).sum();
    policy.false_rollback_rate / super::stats::real(tests.max(1))
}

/// Judges an SLO: each of its series that was seen since the sync; one is enough to convict, and all must pass.
pub fn judge(case: &Case<'_>) -> SloJudgement {
    let name = &case.slo.name;
    if let Some(breach) = missing::judge(case) {
        return SloJudgement::Convicts(breach, Vec::new());
    }
    let (mut open, mut silent, mut passing) = (Vec::new(), Vec::new(), 0_usize);
    let mut convicting: Vec<(&Labels, Breach, Option<Normal>)> = Vec::new();
    for labels in series(case) {
        match judge_series(case, labels) {
            Finding::Convicts { why, failing, needed, passing_before, normal } => {
                let why = if labels.is_empty() { why } else { format!("{} {why}", shown(labels)) };
                let signal = Signal::Slo(name.clone());
                convicting.push((labels, Breach { signal, why, failing, needed, passing_before }, normal));
            }
            Finding::Passes => passing += 1,
            Finding::Objection(what) => open.push(format!("slo `{name}`{} {what}", shown(labels))),
            Finding::Open(what) => open.push(format!("slo `{name}`{}: {what}", shown(labels))),
            Finding::Silent(what) => silent.push(format!("slo `{name}`{}: {what}", shown(labels))),
        }
    }
    if let Some((_, breach, _)) = convicting.first() {
        let mut breach = breach.clone();
        breach.why += &others(convicting.iter().skip(1).map(|(labels, ..)| *labels));
        let broken = |(labels, _, normal): (&Labels, Breach, _)| Broken { series: labels.clone(), normal };
        return SloJudgement::Convicts(breach, convicting.into_iter().map(broken).collect());
    }
    if passing == 0 {
        open.append(&mut silent);
    }
    open.extend(too_many(case.slo, case.after).map(|gap| format!("slo `{name}`: {gap}")));
    if open.is_empty() { SloJudgement::Passes } else { SloJudgement::Open(open.join("; ")) }
}

/// The series that fail beside the first one, for people.
fn others<'a>(series: impl Iterator<Item = &'a Labels>) -> String {
    let shown: Vec<String> = series.map(shown).collect();
    match shown.get(..NAMED_MAX.min(shown.len())).unwrap_or_default() {
        [] => String::new(),
        named if named.len() < shown.len() => {
            format!("; and so {} and {} more", named.join(", "), shown.len() - named.len())
        }
        named => format!("; and so {}", named.join(", ")),
    }
}

/// That some series could not be kept, so that not all are judged.
fn too_many<'a>(slo: &Slo, lines: &'a Lines) -> Option<&'a Gap> {
    static NONE: Labels = Labels::new();
    let lines = slo.parts().into_iter().filter_map(|part| lines.line(part, &NONE));
    lines.flat_map(Line::samples).find_map(|sample| match &sample.reading {
        Reading::Gap(gap @ Gap::TooManySeries(_)) => Some(gap),
        Reading::Gap(_) | Reading::Value(_) => None,
    })
}

/// The parts of an SLO that pass or fail: how many events there are tells nothing of how they end.
fn judged_parts(slo: &Slo) -> impl Iterator<Item = Part> + use<> {
    slo.parts().into_iter().filter(|part| !matches!(part, Part::Events(_)))
}

/// The series that were seen since the sync, or are missed since; where there were none, the one that says so.
fn series<'a>(case: &Case<'a>) -> BTreeSet<&'a Labels> {
    static NONE: Labels = Labels::new();
    let has_value = |line: &Line| line.samples().iter().any(|sample| sample.value().is_some());
    let lines = judged_parts(case.slo).flat_map(|part| case.after.of(part));
    let seen = lines.filter(|(labels, line)| !labels.is_empty() || has_value(line));
    let seen: BTreeSet<&Labels> = seen.map(|(labels, _)| labels).collect();
    if seen.is_empty() { BTreeSet::from([&NONE]) } else { seen }
}

fn judge_series(case: &Case<'_>, labels: &Labels) -> Finding {
    match &case.slo.rule {
        Rule::Threshold { strikes, .. } | Rule::Boolean { strikes, .. } => {
            let before = case.before.line(Part::Value, labels).map(Line::samples).unwrap_or_default();
            strikes::judge(&case.slo.rule, *strikes, before, case.counting(Part::Value, labels))
        }
        Rule::Comparison(comparison) => compared::judge(case, comparison, labels),
        Rule::BurnRate(rule) => burning::judge(case, rule, labels),
    }
}

/// Whether an answer passes that nothing came before: where values are compared, that there is one.
pub fn passes_at_first_sight(slo: &Slo, answer: &SloAnswer) -> bool {
    match (&slo.rule, answer.part) {
        (Rule::Threshold { .. } | Rule::Boolean { .. }, _) | (Rule::BurnRate(_), Part::Ratio(_)) => {
            alone(slo, answer.part, &answer.reading) == Outcome::Pass
        }
        (Rule::Comparison(_) | Rule::BurnRate(_), _) => matches!(answer.reading, Reading::Value(_)),
    }
}

/// What one answer says by itself, though a burn rate takes more than one to convict.
pub fn alone(slo: &Slo, part: Part, reading: &Reading) -> Outcome {
    match (&slo.rule, part, reading) {
        (Rule::BurnRate(rule), Part::Ratio(window), Reading::Value(value)) => {
            if *value < rule.limit(window) {
                Outcome::Pass
            } else {
                Outcome::Fail
            }
        }
        (rule, ..) => outcome(rule, reading),
    }
}

/// One answer beside what would be good, for people.
pub fn show_part(slo: &Slo, part: Part, reading: &Reading) -> String {
    match (part, reading) {
        (Part::Events(_), Reading::Value(events)) => format!("{} events", number(*events)),
        _ => show(&slo.rule, reading),
    }
}

/// Whether an SLO that failed passes again: `passes` measurements in a row of each series that convicted; why not, else.
pub fn passes_again(
    slo: &Slo,
    broken: &[Broken],
    after: Option<&Lines>,
    passes: usize,
) -> Result<(), String> {
    let name = &slo.name;
    let lines = |part| after.into_iter().flat_map(move |lines| lines.of(part));
    let has_labels = |part| lines(part).any(|(labels, _)| !labels.is_empty());
    let mut asked: Vec<(Part, &Labels, Option<Normal>)> = Vec::new();
    for part in judged_parts(slo) {
        if broken.is_empty() {
            // It failed since there was nothing, or an older version did not say by which series.
            let seen = lines(part).map(|(labels, _)| labels);
            let seen = seen.filter(|labels| !labels.is_empty() || !has_labels(part));
            asked.extend(seen.map(|labels| (part, labels, None)));
        }
        for Broken { series, normal } in broken {
            let other = matches!(normal, Some(Normal::Below { window, .. }) if part != Part::Ratio(*window));
            if !other {
                asked.push((part, series, *normal));
            }
        }
    }
    if asked.is_empty() {
        return Err(format!("slo `{name}`: no measurement yet"));
    }
    for (part, series, normal) in asked {
        let again = |sample: &Sample| match &slo.rule {
            Rule::Comparison(_) => compared::is_usual(normal, sample),
            Rule::BurnRate(rule) => burning::is_below(rule, normal, part, sample),
            Rule::Threshold { .. } | Rule::Boolean { .. } => {
                outcome(&slo.rule, &sample.reading) == Outcome::Pass
            }
        };
        let samples = after.and_then(|lines| lines.line(part, series)).map(Line::samples).unwrap_or_default();
        if samples.iter().rev().take_while(|sample| again(sample)).count() < passes {
            let newest =
                samples.last().map_or("no measurement yet".to_owned(), |s| show(&slo.rule, &s.reading));
            let usual = match normal {
                Some(Normal::Usual { median, .. }) => format!(" (usually {})", number(median)),
                Some(Normal::Below { .. }) | None => String::new(),
            };
            return Err(format!("slo `{name}`{}: {newest}{usual}", shown(series)));
        }
    }
    Ok(())
}

/// A series for people, as `PromQL` writes it.
pub fn shown(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", "))
}

#[cfg(test)]
mod tests;
