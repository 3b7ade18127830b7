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
use crate::engine::facts::Reading;
use crate::engine::policy::{Part, Policy, Rule, Slo};
use crate::engine::samples::{Labels, Line, Lines, Sample};

/// What the measurements before and after the sync say together.
#[derive(Clone, Debug, PartialEq)]
pub enum SloJudgement {
    /// It convicts the sync.
    Convicts(Breach, Option<Normal>),
    /// It passes, seen often enough.
    Passes,
    /// Neither; why.
    Open(String),
}

/// By what a recovery is known, where fixed limits do not tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Normal {
    /// What was usual before a comparison failed.
    Usual {
        /// Which series failed.
        series: Labels,
        /// The median before.
        median: f64,
        /// How far from it the values were.
        shift: f64,
    },
    /// What a burn rate must be below again.
    Below {
        /// Which series failed.
        series: Labels,
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
}

/// Rounds of measurements of one SLO that an analysis keeps at most: they stand in the state object.
pub const KEPT_MAX: u32 = 1000;

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
        return SloJudgement::Convicts(breach, None);
    }
    let mut open = Vec::new();
    for labels in series(case) {
        match judge_series(case, labels) {
            Finding::Convicts { why, failing, needed, passing_before, normal } => {
                let why = if labels.is_empty() { why } else { format!("{} {why}", shown(labels)) };
                let signal = Signal::Slo(name.clone());
                let breach = Breach { signal, why, failing, needed, passing_before };
                return SloJudgement::Convicts(breach, normal);
            }
            Finding::Passes => {}
            Finding::Objection(what) => open.push(format!("slo `{name}`{} {what}", shown(labels))),
            Finding::Open(what) => open.push(format!("slo `{name}`{}: {what}", shown(labels))),
        }
    }
    if open.is_empty() { SloJudgement::Passes } else { SloJudgement::Open(open.join("; ")) }
}

/// The series that were seen since the sync; where there were none, the one that says that there are none.
fn series<'a>(case: &Case<'a>) -> BTreeSet<&'a Labels> {
    static NONE: Labels = Labels::new();
    let parts = case.slo.parts().into_iter();
    let labels = parts.flat_map(|part| case.after.of(part)).map(|(labels, _)| labels);
    let seen: BTreeSet<&Labels> = labels.filter(|labels| !labels.is_empty()).collect();
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

/// Whether an SLO that failed passes again: `passes` measurements in a row of each series; why not, else.
pub fn passes_again(
    slo: &Slo,
    normal: Option<&Normal>,
    after: Option<&Lines>,
    passes: usize,
) -> Result<(), String> {
    let name = &slo.name;
    // How many events there are tells nothing of how they end.
    let parts = slo.parts().into_iter().filter(|part| !matches!(part, Part::Events(_)));
    let of = |part| after.into_iter().flat_map(move |lines| lines.of(part)).map(move |line| (part, line));
    let mut lines = parts.flat_map(of).peekable();
    if lines.peek().is_none() {
        return Err(format!("slo `{name}`: no measurement yet"));
    }
    let again = |part, labels: &Labels, sample: &Sample| match &slo.rule {
        Rule::Comparison(_) => compared::is_usual(normal, labels, sample),
        Rule::BurnRate(rule) => burning::is_below(rule, normal, part, labels, sample),
        Rule::Threshold { .. } | Rule::Boolean { .. } => outcome(&slo.rule, &sample.reading) == Outcome::Pass,
    };
    let streak = |part, labels: &Labels, line: &Line| {
        line.samples().iter().rev().take_while(|s| again(part, labels, s)).count()
    };
    let failing = lines.find(|(part, (labels, line))| streak(*part, labels, line) < passes);
    failing.map_or(Ok(()), |(_, (labels, line))| {
        let newest = line.newest().map_or("no measurement yet".to_owned(), |s| show(&slo.rule, &s.reading));
        let usual = match normal {
            Some(Normal::Usual { median, .. }) => format!(" (usually {})", number(*median)),
            Some(Normal::Below { .. }) | None => String::new(),
        };
        Err(format!("slo `{name}`{}: {newest}{usual}", shown(labels)))
    })
}

/// A series for people, as `PromQL` writes it.
fn shown(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", "))
}
