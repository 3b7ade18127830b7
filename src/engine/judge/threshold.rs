//! SLO queries with fixed limits, and how many of how many measurements must fail.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Breach, Outcome, Signal};
use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::{Objective, Slo};

/// One reading of an SLO, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The time that the value is of.
    pub at: Timestamp,
    /// Pass, fail or inconclusive.
    pub outcome: Outcome,
    /// What was read.
    pub reading: Reading,
}

/// Judges one reading.
pub fn measure(objective: Objective, at: Timestamp, reading: Reading) -> Measurement {
    let outcome = match reading {
        Reading::Value(value) if value.is_finite() => {
            let good = match objective {
                Objective::Max(max) => value <= max,
                Objective::Min(min) => value >= min,
                Objective::Between { min, max } => (min..=max).contains(&value),
            };
            if good { Outcome::Pass } else { Outcome::Fail }
        }
        // Neither is a number in JSON, so a state that held one could not be read again.
        Reading::Value(value) => {
            let gap = if value.is_nan() { Gap::NotANumber } else { Gap::Infinite };
            return Measurement { at, outcome: Outcome::Inconclusive, reading: Reading::Gap(gap) };
        }
        Reading::Gap(_) => Outcome::Inconclusive,
    };
    Measurement { at, outcome, reading }
}

/// The newest measurements of one SLO, oldest first, as many as its rule looks at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally(Vec<Measurement>);

impl Tally {
    /// Adds a measurement and forgets what the rule (`of`) no longer looks at.
    ///
    /// Of two measurements of the same time the first that is conclusive stays: an answer that comes twice counts once.
    pub fn add(&mut self, measurement: Measurement, of: u32) {
        if self.0.iter().any(|m| m.at == measurement.at && m.outcome != Outcome::Inconclusive) {
            return;
        }
        self.0.retain(|m| m.at != measurement.at);
        self.0.push(measurement);
        self.0.sort_by_key(|m| m.at);
        let surplus = self.0.len().saturating_sub(of as usize);
        self.0.drain(..surplus);
    }

    /// How many measurements have this outcome.
    pub fn count(&self, outcome: Outcome) -> u32 {
        u32::try_from(self.0.iter().filter(|m| m.outcome == outcome).count()).unwrap_or(u32::MAX)
    }

    /// How many of the newest measurements pass without a break.
    pub fn passing_streak(&self) -> u32 {
        let streak = self.0.iter().rev().take_while(|m| m.outcome == Outcome::Pass).count();
        u32::try_from(streak).unwrap_or(u32::MAX)
    }

    /// Whether there is nothing yet, or something that may be answered when asked again.
    pub fn worth_asking_again(&self) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|m| matches!(&m.reading, Reading::Gap(gap) if gap.is_transient()))
    }

    /// What the newest measurement says that says anything.
    pub fn newest_conclusive(&self) -> Option<Outcome> {
        self.0.iter().rev().map(|m| m.outcome).find(|outcome| *outcome != Outcome::Inconclusive)
    }

    /// The newest measurement.
    pub fn newest(&self) -> Option<&Measurement> {
        self.0.last()
    }
}

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

/// Applies the rule *`failures` of the latest `of`* to the tallies of the time before and after the sync.
///
/// It passes only when so many measurements pass that even the rest of the window could not convict.
pub fn judge(slo: &Slo, before: &Tally, after: &Tally) -> SloJudgement {
    let failing = after.count(Outcome::Fail);
    let passing = after.count(Outcome::Pass);
    let newest = after.newest().map_or_else(|| "no measurement yet".to_owned(), |m| show(slo, &m.reading));
    if failing >= slo.failures {
        let passing_before = before.count(Outcome::Pass);
        if before.newest_conclusive() == Some(Outcome::Fail) {
            return SloJudgement::Open(format!("slo `{}` began to fail before the sync", slo.name));
        }
        if before.count(Outcome::Fail) >= slo.failures {
            return SloJudgement::Open(format!("slo `{}` was failing before the sync already", slo.name));
        }
        if passing_before == 0 {
            let name = &slo.name;
            return SloJudgement::Open(format!(
                "slo `{name}` fails, but no measurement of the time before the sync passed"
            ));
        }
        return SloJudgement::Convicts(Breach {
            signal: Signal::Slo(slo.name.clone()),
            why: format!(
                "{failing} of the latest {} measurements failed, newest {newest}",
                slo.of.min(failing + passing)
            ),
            failing,
            needed: slo.failures,
            passing_before,
        });
    }
    if passing > slo.of.saturating_sub(slo.failures) {
        return SloJudgement::Passes;
    }
    SloJudgement::Open(format!(
        "slo `{}`: {passing} passing and {failing} failing of {} measurements, newest {newest}",
        slo.name, slo.of
    ))
}

/// A reading beside its limit, for people.
pub fn show(slo: &Slo, reading: &Reading) -> String {
    let value = match reading {
        Reading::Gap(gap) => return gap.to_string(),
        Reading::Value(value) => number(*value),
    };
    match slo.objective {
        Objective::Max(max) => format!("{value} (at most {})", number(max)),
        Objective::Min(min) => format!("{value} (at least {})", number(min)),
        Objective::Between { min, max } => format!("{value} ({} to {})", number(min), number(max)),
    }
}

/// Four significant digits are what a person compares.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 9.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=9")]
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::template::Template;

    /// `p` passes, `f` fails, `.` has no data; `before | after`.
    fn check(before_after: &str, expected: &str) {
        let slo = Slo {
            name: "errors".into(),
            query: Template::parse("up").unwrap(),
            objective: Objective::Max(0.05),
            failures: 3,
            of: 5,
        };
        let (before, after) = before_after.split_once('|').unwrap();
        let tally = |text: &str| {
            let mut tally = Tally::default();
            for (i, c) in text.trim().chars().enumerate() {
                let reading = match c {
                    'p' => Reading::Value(0.01),
                    'f' => Reading::Value(0.3),
                    _ => Reading::Gap(Gap::NoData),
                };
                tally.add(
                    measure(
                        slo.objective,
                        Timestamp::from_second(i64::try_from(i).unwrap()).unwrap(),
                        reading,
                    ),
                    slo.of,
                );
            }
            tally
        };
        let got = match judge(&slo, &tally(before), &tally(after)) {
            SloJudgement::Convicts(breach) => breach.to_string(),
            SloJudgement::Passes => "passes".to_owned(),
            SloJudgement::Open(why) => format!("open: {why}"),
        };
        assert_eq!(got, expected, "{before_after}");
    }

    #[test]
    fn three_of_five() {
        check(
            "ppppp | fff",
            "slo `errors`: 3 of the latest 3 measurements failed, newest 0.3 (at most 0.05)",
        );
        check(
            "ppppp | fpfpf",
            "slo `errors`: 3 of the latest 5 measurements failed, newest 0.3 (at most 0.05)",
        );
        check(
            "ppppp | ffpp",
            "open: slo `errors`: 2 passing and 2 failing of 5 measurements, newest 0.01 (at most 0.05)",
        );
        check("ppppp | ppp", "passes");
        check("ppppp | fffppp", "passes");
        check("ppppp | ffppp", "passes");
    }

    #[test]
    fn silence_is_not_sickness_and_not_health() {
        check(
            "ppppp | .....",
            "open: slo `errors`: 0 passing and 0 failing of 5 measurements, newest no data: the query matched no series",
        );
        check(
            "ppppp | pp...",
            "open: slo `errors`: 2 passing and 0 failing of 5 measurements, newest no data: the query matched no series",
        );
    }

    #[test]
    fn what_failed_before_cannot_convict() {
        check("ppfff | fffff", "open: slo `errors` began to fail before the sync");
        check("pffpf | fffff", "open: slo `errors` began to fail before the sync");
        check("fffpp | fffff", "open: slo `errors` was failing before the sync already");
        check(
            "pfpp. | fff..",
            "slo `errors`: 3 of the latest 3 measurements failed, newest no data: the query matched no series",
        );
        check(
            "..... | fffff",
            "open: slo `errors` fails, but no measurement of the time before the sync passed",
        );
        check("pp.ff | fffff", "open: slo `errors` began to fail before the sync");
    }

    #[test]
    fn what_is_no_number_is_a_gap_and_can_be_saved() {
        for (value, gap) in [(f64::NAN, Gap::NotANumber), (f64::NEG_INFINITY, Gap::Infinite)] {
            let got = measure(Objective::Max(1.0), Timestamp::UNIX_EPOCH, Reading::Value(value));
            assert_eq!((got.outcome, &got.reading), (Outcome::Inconclusive, &Reading::Gap(gap)));
            let saved = serde_json::to_string(&got).unwrap();
            assert_eq!(serde_json::from_str::<Measurement>(&saved).unwrap(), got);
        }
    }

    #[test]
    fn numbers_for_people() {
        let shown: Vec<String> = [0.0, 0.05, 0.123_456, 1234.5, 0.000_012_34, 1e12].map(number).into();
        assert_eq!(shown.join(" "), "0 0.05 0.1235 1234 0.00001234 1000000000000");
    }
}
