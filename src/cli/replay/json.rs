//! A rehearsal as one JSON object: its form is part of the command line's contract.

use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;

use crate::engine::facts::Reading;
use crate::engine::judge::{Signal, Verdict};
use crate::engine::policy::{Policy, Slo};
use crate::replay::{Look, Rehearsal, word};

/// What one pretended sync led to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    at: String,
    verdict: &'static str,
    decided_at: String,
    reason: String,
    /// Whether the verdict had fallen by now: of what has not happened yet there is no history.
    r#final: bool,
    signals: Vec<SignalTold>,
}

/// What one signal said by the moment of the verdict.
#[derive(Serialize)]
struct SignalTold {
    name: String,
    /// Whether it convicts.
    convicts: bool,
    /// Why, where it does.
    reason: Option<String>,
    /// Since the sync.
    measurements: usize,
    /// The newest measurement's value; null where it had none.
    newest: Option<f64>,
    /// Why it had none.
    gap: Option<String>,
}

impl Told {
    pub(super) fn of(policy: &Policy, told: &Rehearsal, now: Timestamp) -> Self {
        Self {
            at: told.at.to_string(),
            verdict: word(&told.verdict),
            decided_at: told.decided_at.to_string(),
            reason: told.reason(),
            r#final: told.decided_at <= now,
            signals: policy.asked().map(|slo| SignalTold::of(told, slo)).collect(),
        }
    }

    /// As one line.
    pub(super) fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)?;
        Ok(())
    }
}

impl SignalTold {
    fn of(told: &Rehearsal, slo: &Slo) -> Self {
        let (name, main) = (&slo.name, slo.main_part());
        let breach = match &told.verdict {
            Verdict::Degraded(breaches) => {
                breaches.iter().find(|breach| breach.signal == Signal::Slo(name.clone()))
            }
            Verdict::Healthy | Verdict::Inconclusive(_) => None,
        };
        let of_slo = |look: &&Look| look.answer.slo == *name && look.answer.part == main;
        let after = || told.looks.iter().filter(|look| !look.before).filter(of_slo);
        let (newest, gap) = match after().next_back().map(|look| &look.answer.reading) {
            Some(Reading::Value(value)) => (Some(*value), None),
            Some(Reading::Gap(gap)) => (None, Some(gap.to_string())),
            None => (None, None),
        };
        Self {
            name: name.clone(),
            convicts: breach.is_some(),
            reason: breach.map(|breach| breach.why.clone()),
            measurements: after().count(),
            newest,
            gap,
        }
    }
}
