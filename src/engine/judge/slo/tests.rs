//! Several series of one query, each judged by itself.

use super::*;
use crate::engine::facts::{Gap, Reading};
use crate::engine::fixture::at;
use crate::engine::policy::{Objective, Series, Strikes};
use crate::engine::template::Template;

/// Rounds that are kept.
const MOST: usize = 5;

fn slo() -> Slo {
    let strikes = Strikes { failures: 3, of: 5 };
    let rule = Rule::Threshold { objective: Objective::Max(0.05), strikes };
    Slo { series: Series::Each, ..Slo::new("errors", Template::parse("up").unwrap(), rule) }
}

fn of(path: &str) -> Labels {
    Labels::from([("path".to_owned(), path.to_owned())])
}

/// The rounds of several series: each a name with a letter for each round, `p` passing, `f` failing, `n` NaN, `.` not in
/// the answer; `!` no answer at all.
fn lines(series: &[(&str, &str)], from: i64, known: &BTreeSet<Labels>) -> Lines {
    let mut lines = Lines::default();
    let rounds = series.iter().map(|(_, rounds)| rounds.len()).max().unwrap_or_default();
    for round in 0..rounds {
        let mut answers: Vec<(Labels, Reading)> = Vec::new();
        for (path, letters) in series {
            let labels = if path.is_empty() { Labels::new() } else { of(path) };
            match letters.chars().nth(round) {
                Some('p') => answers.push((labels, Reading::Value(0.01))),
                Some('f') => answers.push((labels, Reading::Value(0.3))),
                Some('n') => answers.push((labels, Reading::Gap(Gap::NotANumber))),
                Some('!') => answers.push((Labels::new(), Reading::Gap(Gap::TimedOut))),
                _ => {}
            }
        }
        if answers.is_empty() {
            answers.push((Labels::new(), Reading::Gap(Gap::NoData)));
        }
        let answers: Vec<_> = answers.iter().map(|(labels, reading)| (labels, reading)).collect();
        lines.take(Part::Value, at(from + i64::try_from(round).unwrap()), &answers, known, MOST);
    }
    lines
}

/// Each a series with its rounds before and after the sync.
fn judged(series: &[(&str, &str, &str)]) -> String {
    let before: Vec<_> = series.iter().map(|(path, before, _)| (*path, *before)).collect();
    let after: Vec<_> = series.iter().map(|(path, _, after)| (*path, *after)).collect();
    let before = lines(&before, 0, &BTreeSet::new());
    let has_value = |line: &Line| line.samples().iter().any(|s| s.value().is_some());
    let known = before
        .of(Part::Value)
        .filter(|(_, line)| has_value(line))
        .map(|(labels, _)| labels.clone())
        .collect();
    let after = lines(&after, 100, &known);
    match judge(&Case::new(&slo(), &before, &after)) {
        SloJudgement::Convicts(breach, broken) => {
            let broken: Vec<_> = broken.iter().map(|one| shown(&one.series)).collect();
            format!("{} [{}]", breach.why, broken.join(" "))
        }
        SloJudgement::Passes => "passes".to_owned(),
        SloJudgement::Open(why) => format!("open: {why}"),
    }
}

#[track_caller]
fn check(series: &[(&str, &str, &str)], expected: &str) {
    assert_eq!(judged(series), expected, "{series:?}");
}

#[test]
fn each_series_is_judged_and_one_is_enough() {
    const OF: &str = "of the latest 3 measurements failed, newest 0.3 (at most 0.05)";
    check(&[("/a", "ppppp", "ppppp"), ("/b", "ppppp", "ppppp")], "passes");
    check(
        &[("/a", "ppppp", "ppp"), ("/b", "ppppp", "fff")],
        &format!(r#"{{path="/b"}} 3 {OF} [{{path="/b"}}]"#),
    );
    check(
        &[("/a", "ppppp", "fff"), ("/b", "ppppp", "fff")],
        &format!(r#"{{path="/a"}} 3 {OF}; and so {{path="/b"}} [{{path="/a"}} {{path="/b"}}]"#),
    );
    let five: Vec<_> = ["/a", "/b", "/c", "/d", "/e", "/f"].map(|path| (path, "ppppp", "fff")).into();
    let told = judged(&five);
    assert!(told.contains(r#"; and so {path="/b"}, {path="/c"}, {path="/d"} and 2 more"#), "{told}");
    // Failures of several series are no failures of one.
    check(
        &[("/a", "ppppp", "ffpp"), ("/b", "ppppp", "ppff")],
        r#"open: slo `errors`{path="/a"}: 2 passing and 2 failing of 5 measurements, newest 0.01 (at most 0.05); slo `errors`{path="/b"}: 2 passing and 2 failing of 5 measurements, newest 0.3 (at most 0.05)"#,
    );
    // One without labels is a series beside the others.
    check(&[("", "ppppp", "fff"), ("/b", "ppppp", "ppp")], &format!("3 {OF} []"));
}

#[test]
fn a_series_that_begins_ends_or_never_was() {
    const NONE: &str = "newest no data: the query matched no series";
    // What had values and stops to come passes nothing, and convicts nobody.
    let gone =
        format!(r#"open: slo `errors`{{path="/b"}}: 0 passing and 0 failing of 5 measurements, {NONE}"#);
    check(&[("/a", "ppppp", "ppppp"), ("/b", "ppppp", ".....")], &gone);
    check(
        &[("/a", "ppppp", "ppppp"), ("/b", "ppppp", "pp...")],
        &format!(r#"open: slo `errors`{{path="/b"}}: 2 passing and 0 failing of 5 measurements, {NONE}"#),
    );
    // Old failures are not added to new ones.
    check(
        &[("/a", "ppppp", "pppppppp"), ("/b", "ppppp", "ff.....f")],
        r#"open: slo `errors`{path="/b"}: 0 passing and 1 failing of 5 measurements, newest 0.3 (at most 0.05)"#,
    );
    // What begins after the sync has no past.
    check(
        &[("/a", "ppppp", "ppppp"), ("/b", ".....", "fffff")],
        r#"open: slo `errors`{path="/b"} fails, but no measurement of the time before the sync passed"#,
    );
    check(&[("/a", "ppppp", "ppppp"), ("/b", ".....", "ppppp")], "passes");
    // What never had a value, or for a moment only, is in nobody's way, unless there is nothing else.
    check(&[("/a", "ppppp", "ppppp"), ("/b", "nnnnn", "nnnnn")], "passes");
    check(&[("/a", "ppppp", "pppppp"), ("/b", ".....", "f.....")], "passes");
    check(
        &[("/b", "nnnnn", "nnnnn")],
        r#"open: slo `errors`{path="/b"}: 0 passing and 0 failing of 5 measurements, newest NaN (as of 0/0: no traffic)"#,
    );
}

#[test]
fn no_answer_is_a_gap_of_each_series() {
    let silent = r#"open: slo `errors`{path="/a"}: 2 passing and 0 failing of 5 measurements, newest no answer in time"#;
    check(&[("/a", "ppppp", "ppppp!!!")], silent);
    check(&[("/a", "ppppp", "ppp!!")], "passes");
}

#[test]
fn more_series_than_are_kept_pass_nothing() {
    let names: Vec<String> = (0..=crate::engine::samples::SERIES_MAX).map(|i| format!("/{i}")).collect();
    // Never more than ten at once.
    let rounds = |i: usize| if i < 11 { "ppppp....." } else { ".....ppppp" };
    let series: Vec<_> = names.iter().enumerate().map(|(i, path)| (path.as_str(), "", rounds(i))).collect();
    let told = judged(&series);
    assert_eq!(told, "open: slo `errors`: 21 series, and at most 20 are judged");
    let mut lines = lines(&[("/a", "p")], 0, &BTreeSet::new());
    let none = Reading::Gap(Gap::TimedOut);
    lines.take(Part::Value, at(9), &[(&Labels::new(), &none)], &BTreeSet::new(), MOST);
    assert!(lines.worth_asking_again());
    lines.take(Part::Value, at(9), &[(&of("/a"), &Reading::Value(1.0))], &BTreeSet::new(), MOST);
    assert!(!lines.worth_asking_again(), "{lines:?}");
}

#[test]
fn the_series_that_failed_must_pass_again() {
    let broken = [Broken { series: of("/b"), normal: None }];
    let again = |series: &[(&str, &str)]| {
        passes_again(&slo(), &broken, Some(&lines(series, 0, &BTreeSet::new())), 2).err().unwrap_or_default()
    };
    assert_eq!(again(&[("/a", "ff"), ("/b", "pp")]), "");
    assert_eq!(again(&[("/a", "pp"), ("/b", "fp")]), r#"slo `errors`{path="/b"}: 0.01 (at most 0.05)"#);
    assert_eq!(again(&[("/a", "pp")]), r#"slo `errors`{path="/b"}: no measurement yet"#);
}
