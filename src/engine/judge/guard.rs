//! Guards: while the environment is not known to be well, what it may have caused convicts nobody.

use jiff::Timestamp;

use super::Outcome;
use super::slo::{outcome, show};
use crate::engine::policy::{Guard, Part};
use crate::engine::samples::{Labels, Line, Lines, Sample};

/// How a guard stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It passes, and has since its first measurement, or since this time.
    Passes(Option<Timestamp>),
    /// It fails, or is not known, which is no better; a sentence.
    Suspends(String),
}

/// Judges a guard by what it gave since the sync: its newest answer decides.
pub fn judge(guard: &Guard, lines: Option<&Lines>) -> Standing {
    let (name, rule) = (&guard.asks.name, &guard.asks.rule);
    let line = lines.and_then(|lines| lines.line(Part::Value, &Labels::new()));
    let samples = line.map(Line::samples).unwrap_or_default();
    let Some(newest) = samples.last() else {
        return Standing::Suspends(format!("guard `{name}` is not known: no measurement yet"));
    };
    let shown = show(rule, &newest.reading);
    match outcome(rule, &newest.reading) {
        Outcome::Fail => return Standing::Suspends(format!("guard `{name}` fails: {shown}")),
        Outcome::Inconclusive => {
            return Standing::Suspends(format!("guard `{name}` is not known: {shown}"));
        }
        Outcome::Pass => {}
    }
    let passes = |sample: &&Sample| outcome(rule, &sample.reading) == Outcome::Pass;
    let streak = samples.iter().rev().take_while(passes).count();
    let since = samples.get(samples.len() - streak).filter(|_| streak < samples.len());
    Standing::Passes(since.map(|sample| sample.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::{Gap, Reading};
    use crate::engine::fixture::at;
    use crate::engine::policy::{Objective, Rule, Slo, Strikes};
    use crate::engine::template::Template;

    /// A measurement of each letter, one each second: `p` passes, `f` fails, `.` has no data.
    fn check(letters: &str, expected: &str) {
        let strikes = Strikes { failures: 1, of: 9 };
        let rule = Rule::Threshold { objective: Objective::Max(0.0), strikes };
        let asks = Slo::new("nodes", Template::parse("up").unwrap(), rule);
        let mut lines = Lines::default();
        for (second, letter) in (0..).zip(letters.chars()) {
            let reading = match letter {
                'p' => Reading::Value(0.0),
                'f' => Reading::Value(2.0),
                _ => Reading::Gap(Gap::NoData),
            };
            lines.add(Part::Value, &Labels::new(), Sample::new(at(second), reading), 9);
        }
        let told = match judge(&Guard { asks, suspends_rollout: true }, Some(&lines)) {
            Standing::Passes(None) => "passes".to_owned(),
            Standing::Passes(Some(since)) => format!("passes since {}", since.as_second()),
            Standing::Suspends(why) => why,
        };
        assert_eq!(told, expected, "{letters}");
    }

    #[test]
    fn the_newest_answer_decides_and_what_is_not_known_does_not_pass() {
        const NONE: &str = "guard `nodes` is not known: no data: the query matched no series";
        check("", "guard `nodes` is not known: no measurement yet");
        check("ppp", "passes");
        check("ppf", "guard `nodes` fails: 2 (at most 0)");
        check("pp.", NONE);
        check("fpp", "passes since 1");
        check("pf.p", "passes since 3");
        check(".p", "passes since 1");
        check("fpfpp", "passes since 3");
    }
}
