//! Values that are good or bad each by itself, and how many of how many must be bad.

use super::Finding;
use crate::engine::facts::Reading;
use crate::engine::judge::Outcome;
use crate::engine::policy::{Objective, Rule, Strikes};
use crate::engine::samples::Sample;

/// What one reading says by itself.
pub fn outcome(rule: &Rule, reading: &Reading) -> Outcome {
    let Reading::Value(value) = *reading else { return Outcome::Inconclusive };
    let good = match *rule {
        Rule::Threshold { objective, .. } => match objective {
            Objective::Max(max) => value <= max,
            Objective::Min(min) => value >= min,
            Objective::Between { min, max } => (min..=max).contains(&value),
        },
        #[allow(clippy::float_cmp, reason = "PromQL's truth values are exactly these")]
        Rule::Boolean { true_is_bad, .. } => match value {
            1.0 => !true_is_bad,
            0.0 => true_is_bad,
            _ => return Outcome::Inconclusive,
        },
        Rule::Comparison(_) | Rule::BurnRate(_) => return Outcome::Inconclusive,
    };
    if good { Outcome::Pass } else { Outcome::Fail }
}

/// The newest samples that the rule looks at.
struct Window<'a> {
    rule: &'a Rule,
    samples: &'a [Sample],
}

impl Window<'_> {
    fn count(&self, wanted: Outcome) -> u32 {
        let count = self.samples.iter().filter(|s| outcome(self.rule, &s.reading) == wanted).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// What the newest sample says that says anything.
    fn newest_conclusive(&self) -> Option<Outcome> {
        let mut outcomes = self.samples.iter().rev().map(|s| outcome(self.rule, &s.reading));
        outcomes.find(|outcome| *outcome != Outcome::Inconclusive)
    }
}

fn latest(samples: &[Sample], of: u32) -> &[Sample] {
    samples.get(samples.len().saturating_sub(of as usize)..).unwrap_or_default()
}

/// Applies *`failures` of the latest `of`* to the samples of one series before and after the sync.
///
/// It passes only when so many measurements pass that even the rest of the window could not convict.
pub(super) fn judge(rule: &Rule, strikes: Strikes, before: &[Sample], after: &[Sample]) -> Finding {
    let Strikes { failures, of } = strikes;
    let (before, after) = (latest(before, of), latest(after, of));
    let newest = || after.last().map_or_else(|| "no measurement yet".to_owned(), |s| show(rule, &s.reading));
    let (before, after) = (Window { rule, samples: before }, Window { rule, samples: after });
    let (failing, passing) = (after.count(Outcome::Fail), after.count(Outcome::Pass));
    if failing >= failures {
        let passing_before = before.count(Outcome::Pass);
        if before.newest_conclusive() == Some(Outcome::Fail) {
            return Finding::Objection("began to fail before the sync");
        }
        if before.count(Outcome::Fail) >= failures {
            return Finding::Objection("was failing before the sync already");
        }
        if passing_before == 0 {
            return Finding::Objection("fails, but no measurement of the time before the sync passed");
        }
        let latest = of.min(failing + passing);
        return Finding::Convicts {
            why: format!("{failing} of the latest {latest} measurements failed, newest {}", newest()),
            failing,
            needed: failures,
            passing_before,
            normal: None,
        };
    }
    if passing > of.saturating_sub(failures) {
        return Finding::Passes;
    }
    let why = format!("{passing} passing and {failing} failing of {of} measurements, newest {}", newest());
    let says_something = |window: &Window<'_>| window.samples.iter().any(|s| s.value().is_some());
    if says_something(&before) || says_something(&after) { Finding::Open(why) } else { Finding::Silent(why) }
}

/// A reading beside what would be good, for people.
pub fn show(rule: &Rule, reading: &Reading) -> String {
    let value = match reading {
        Reading::Gap(gap) => return gap.to_string(),
        Reading::Value(value) => number(*value),
    };
    let boolean = matches!(rule, Rule::Boolean { .. });
    if boolean && outcome(rule, reading) == Outcome::Inconclusive {
        return format!("{value} (neither 0 nor 1)");
    }
    format!("{value} ({})", wanted(rule))
}

/// What is good, for people.
pub fn wanted(rule: &Rule) -> String {
    match rule {
        Rule::Threshold { objective, .. } => match *objective {
            Objective::Max(max) => format!("at most {}", number(max)),
            Objective::Min(min) => format!("at least {}", number(min)),
            Objective::Between { min, max } => format!("{} to {}", number(min), number(max)),
        },
        Rule::Boolean { true_is_bad, .. } => format!("{} is good", if *true_is_bad { "0" } else { "1" }),
        Rule::Comparison(comparison) => format!("within {} %", number(comparison.tolerance * 100.0)),
        Rule::BurnRate(rule) => {
            let limits = rule.windows.iter().map(|pair| rule.limit_of(pair));
            format!("less than {}", number(limits.fold(f64::INFINITY, f64::min)))
        }
    }
}

/// Four significant digits are what a person compares.
pub fn number(value: f64) -> String {
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
    use crate::engine::facts::Gap;
    use crate::engine::fixture::at;
    use crate::engine::judge::slo::{Case, SloJudgement, judge};
    use crate::engine::policy::{Part, Slo};
    use crate::engine::samples::{Labels, Lines};
    use crate::engine::template::Template;

    const STRIKES: Strikes = Strikes { failures: 3, of: 5 };

    /// A reading of each letter: `before | after`.
    fn judged(rule: Rule, before_after: &str, reading: impl Fn(char) -> Reading) -> String {
        let slo = Slo::new("errors", Template::parse("up").unwrap(), rule);
        let (before, after) = before_after.split_once('|').unwrap();
        let lines = |text: &str| {
            let mut lines = Lines::default();
            for (i, c) in (0..).zip(text.trim().chars()) {
                lines.add(Part::Value, &Labels::new(), Sample::new(at(i), reading(c)), 5);
            }
            lines
        };
        match judge(&Case::new(&slo, &lines(before), &lines(after))) {
            SloJudgement::Convicts(breach, _) => breach.to_string(),
            SloJudgement::Passes => "passes".to_owned(),
            SloJudgement::Open(why) => format!("open: {why}"),
        }
    }

    /// `p` passes, `f` fails, `.` has no data; `before | after`.
    fn check(before_after: &str, expected: &str) {
        let rule = Rule::Threshold { objective: Objective::Max(0.05), strikes: STRIKES };
        let got = judged(rule, before_after, |c| match c {
            'p' => Reading::Value(0.01),
            'f' => Reading::Value(0.3),
            _ => Reading::Gap(Gap::NoData),
        });
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

    /// Answers to a query that is 1 when something is wrong, or when all is well.
    fn check_boolean(true_is_bad: bool, before_after: &str, expected: &str) {
        let got = judged(Rule::Boolean { true_is_bad, strikes: STRIKES }, before_after, |c| {
            c.to_digit(10).map_or(Reading::Gap(Gap::NoData), |digit| Reading::Value(f64::from(digit)))
        });
        assert_eq!(got, expected, "{before_after}");
    }

    #[test]
    fn a_question_is_answered_by_0_or_1() {
        let failed =
            |what: &str| format!("slo `errors`: 3 of the latest 3 measurements failed, newest {what}");
        check_boolean(true, "00000 | 111", &failed("1 (0 is good)"));
        check_boolean(false, "11111 | 000", &failed("0 (1 is good)"));
        check_boolean(true, "00000 | 000", "passes");
        check_boolean(false, "11111 | 111", "passes");
        check_boolean(true, "11111 | 111", "open: slo `errors` began to fail before the sync");
        check_boolean(
            true,
            "00000 | 22222",
            "open: slo `errors`: 0 passing and 0 failing of 5 measurements, newest 2 (neither 0 nor 1)",
        );
        check_boolean(
            true,
            "00000 | .....",
            "open: slo `errors`: 0 passing and 0 failing of 5 measurements, newest no data: the query matched no series",
        );
    }

    #[test]
    fn numbers_for_people() {
        let shown: Vec<String> = [0.0, 0.05, 0.123_456, 1234.5, 0.000_012_34, 1e12].map(number).into();
        assert_eq!(shown.join(" "), "0 0.05 0.1235 1234 0.00001234 1000000000000");
    }
}
