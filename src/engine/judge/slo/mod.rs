//! SLO queries: from their samples before and after the sync to what they say about it, by their rule.

pub mod blocks;
pub mod burn_rate;
pub mod comparison;
mod strikes;

use std::collections::BTreeSet;

pub use strikes::{number, outcome, passing_streak, show, wanted};

use super::{Breach, Signal};
use crate::engine::policy::{Policy, Rule, Slo};
use crate::engine::samples::{Labels, Line, Lines, Sample};

/// What the measurements before and after the sync say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SloJudgement {
    /// It convicts the sync.
    Convicts(Breach),
    /// It passes, seen often enough.
    Passes,
    /// Neither; why.
    Open(String),
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
}

/// What one series says.
enum Finding {
    Convicts {
        why: String,
        failing: u32,
        needed: u32,
        passing_before: u32,
    },
    Passes,
    /// It fails, and that cannot convict; the rest of a sentence that the series begins.
    Objection(&'static str),
    /// It says nothing yet; why.
    Open(String),
}

/// How many samples of one series an SLO looks at.
pub fn kept(slo: &Slo, _policy: &Policy) -> usize {
    match &slo.rule {
        Rule::Threshold { strikes, .. } | Rule::Boolean { strikes, .. } => strikes.of as usize,
        Rule::BurnRate(_) | Rule::Comparison(_) => 0,
    }
}

/// Judges an SLO: each of its series that was seen since the sync; one is enough to convict, and all must pass.
pub fn judge(case: &Case<'_>) -> SloJudgement {
    let Case { slo, before, after } = *case;
    let name = &slo.name;
    let mut series: BTreeSet<&Labels> = after.iter().map(|(labels, _)| labels).collect();
    let unlabelled = Labels::new();
    if series.is_empty() {
        series.insert(&unlabelled);
    }
    let mut open = Vec::new();
    for labels in series {
        let samples = |lines: &'_ Lines| lines.line(labels).map(Line::samples).unwrap_or_default().to_vec();
        match judge_series(slo, &samples(before), &samples(after)) {
            Finding::Convicts { why, failing, needed, passing_before } => {
                let why = if labels.is_empty() { why } else { format!("{} {why}", shown(labels)) };
                let signal = Signal::Slo(name.clone());
                return SloJudgement::Convicts(Breach { signal, why, failing, needed, passing_before });
            }
            Finding::Passes => {}
            Finding::Objection(what) => open.push(format!("slo `{name}`{} {what}", shown(labels))),
            Finding::Open(what) => open.push(format!("slo `{name}`{}: {what}", shown(labels))),
        }
    }
    if open.is_empty() { SloJudgement::Passes } else { SloJudgement::Open(open.join("; ")) }
}

/// Whether an SLO that failed passes again: `passes` measurements in a row of each series; why not, else.
pub fn passes_again(slo: &Slo, after: Option<&Lines>, passes: usize) -> Result<(), String> {
    let name = &slo.name;
    let mut lines = after.into_iter().flat_map(Lines::iter).peekable();
    if lines.peek().is_none() {
        return Err(format!("slo `{name}`: no measurement yet"));
    }
    let failing = lines.find(|(_, line)| passing_streak(&slo.rule, line) < passes);
    failing.map_or(Ok(()), |(labels, line)| {
        let newest = line.newest().map_or("no measurement yet".to_owned(), |s| show(&slo.rule, &s.reading));
        Err(format!("slo `{name}`{}: {newest}", shown(labels)))
    })
}

fn judge_series(slo: &Slo, before: &[Sample], after: &[Sample]) -> Finding {
    match &slo.rule {
        Rule::Threshold { strikes, .. } | Rule::Boolean { strikes, .. } => {
            strikes::judge(&slo.rule, *strikes, before, after)
        }
        Rule::BurnRate(_) | Rule::Comparison(_) => Finding::Open("its rule is not known".to_owned()),
    }
}

/// A series for people, as `PromQL` writes it.
fn shown(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", "))
}
