//! The sense of SLOs: counts that can be reached, limits that can hold, queries that parse. Pure, like `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use humantime::format_duration;

use super::burn_rate;
use super::check::{Finding, Report, Step, keys, short_text};
use super::code::Code;
use super::file::{BurnRate, Comparison, PolicyFile, Slo};
use super::mistake::suggestion;
use super::promql::{QUERY_CHARS_MAX, Query, advice};
use crate::engine::judge::slo::{KEPT_BYTES_MAX, KEPT_MAX, kept_bytes};
use crate::engine::policy::Policy;
use crate::engine::template::{BUILT_IN, Template, TemplateError, WINDOW};

/// Measurements that an SLO may look at; they are kept in the state object, which is bounded.
const OF_MAX: u32 = 100;
/// Measurements of the time before the sync that comparisons look at.
const BASELINE_ROUNDS_MAX: u32 = 5000;
/// Times of the past that one slo is compared with beside the time right before.
const ALSO_MAX: usize = 4;
/// SLOs of one policy; each is a query at each interval.
const SLOS_MAX: usize = 32;

/// Finds what makes no sense about the SLOs.
pub(super) fn slos(file: &PolicyFile, report: &mut Report) {
    if file.slos.len() > SLOS_MAX {
        report.add(
            &keys(&["slos"]),
            format!("{} slos are too many", file.slos.len()),
            format!("at most {SLOS_MAX}"),
        );
    }
    let mut names = BTreeSet::new();
    for (i, slo) in file.slos.iter().enumerate() {
        let at =
            |field: &str| vec![Step::Key("slos".to_owned()), Step::Index(i), Step::Key(field.to_owned())];
        if short_text(&slo.name, &at("name"), "name", report) && !names.insert(slo.name.as_str()) {
            report.add(
                &at("name"),
                format!("a second slo named `{}`", slo.name),
                "give each slo a name of its own",
            );
        }
        one_rule(slo, &at, report);
        missing(slo, file, &at("failAfterMissing"), report);
        match (&slo.comparison, &slo.burn_rate) {
            (Some(rule), _) => comparison(slo, rule, file, &at, report),
            (None, Some(rule)) => budget(slo, rule, file, &at, report),
            (None, None) => strikes(slo, file, &at, report),
        }
        let window = slo.burn_rate.as_ref().map(BurnRate::window);
        let query = query(&slo.query, window, file, &at("query"), report);
        limits(slo, query.as_ref(), &at, report);
    }
}

/// Finds that the measurements of all SLOs and guards together are more than the state object may hold; of the SLO with the most.
pub(super) fn too_much(policy: &Policy) -> Option<Finding> {
    let bytes = |slo| kept_bytes(slo, policy);
    let all: usize = policy.asked().map(bytes).sum();
    let (most, slo) = policy.asked().enumerate().max_by_key(|(_, slo)| bytes(slo))?;
    let (section, most) = match most.checked_sub(policy.slos.len()) {
        None => ("slos", most),
        Some(guard) => ("guards", guard),
    };
    let kilobytes = |bytes: usize| bytes.div_ceil(1000);
    (all > KEPT_BYTES_MAX).then(|| Finding {
        path: vec![Step::Key(section.to_owned()), Step::Index(most), Step::Key("name".to_owned())],
        needle: None,
        code: Code::BadValue,
        message: format!(
            "the measurements of an analysis would take {} kB of the state object, more than {} kB; those of `{}` take {} kB",
            kilobytes(all),
            kilobytes(KEPT_BYTES_MAX),
            slo.name,
            kilobytes(bytes(slo)),
        ),
        help: Some(
            "lengthen `analysis.interval`, shorten `analysis.duration`, lower `of`, or give fewer slos that go by statistics or judge `each` series".to_owned(),
        ),
    })
}

fn missing(slo: &Slo, file: &PolicyFile, path: &[Step], report: &mut Report) {
    let (interval, duration) = (file.analysis.interval, file.analysis.duration);
    if let Some(after) = slo.fail_after_missing.filter(|after| *after < interval || *after > duration) {
        let help =
            format!("at least one interval ({interval}), and no longer than the analysis ({duration})");
        report.add(path, format!("`{after}` without data cannot be told"), help);
    }
}

fn one_rule(slo: &Slo, at: &impl Fn(&str) -> Vec<Step>, report: &mut Report) {
    let limit = if slo.max.is_some() { "max" } else { "min" };
    let rules = [
        (limit, slo.min.is_some() || slo.max.is_some()),
        ("trueIs", slo.true_is.is_some()),
        ("comparison", slo.comparison.is_some()),
        ("burnRate", slo.burn_rate.is_some()),
    ];
    let given: Vec<&str> = rules.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    match given.as_slice() {
        [] => {
            let help = "add `max:` (the greatest good value), `min:` (the smallest), or both; `trueIs:` where it answers 0 or 1; `comparison:` with the time before; `burnRate:` for an error budget";
            report.add(&at("query"), format!("the slo `{}` has no limit", slo.name), help);
        }
        [first, second, ..] => {
            let message = format!("the slo `{}` has two rules, `{first}` and `{second}`", slo.name);
            report.add(&at(second), message, "give one; a query may stand in two slos");
        }
        [_] => {}
    }
}

/// The greatest share that makes sense as a tolerance; past it percent were meant.
const TOLERANCE_MAX: f64 = 100.0;

fn comparison(
    slo: &Slo,
    rule: &Comparison,
    file: &PolicyFile,
    at: &impl Fn(&str) -> Vec<Step>,
    report: &mut Report,
) {
    let inside = |field: &str| within(at("comparison"), field);
    no_strikes(slo, "comparison", at, report);
    if !(0.0..=TOLERANCE_MAX).contains(&rule.tolerance.0) {
        let message = format!("a tolerance of {} is none", rule.tolerance);
        report.add(&inside("tolerance"), message, "a share of the usual value, such as `25%`");
    }
    if let Some(change) = rule.minimum_change.filter(|change| !change.is_finite() || *change < 0.0) {
        let message = format!("a smallest change of {change} is none");
        report.add(&inside("minimumChange"), message, "0 or more, in the query's own unit");
    }
    let (analysis, longest) = (file.analysis.duration.0, Duration::from_secs(28 * 24 * 3600));
    // What is compared with must be over, and no part of the baseline.
    let least = file.analysis.baseline.0.saturating_add(analysis.saturating_mul(2));
    for (i, ago) in rule.also.iter().enumerate() {
        let mut path = inside("also");
        path.push(Step::Index(i));
        if ago.0 < least || ago.0 > longest {
            let message = format!("`{ago}` ago cannot be compared with");
            let help =
                format!("from {} on, and at most {}", format_duration(least), format_duration(longest));
            report.add(&path, message, help);
        } else if rule.also.iter().take(i).any(|other| other == ago) {
            report.add(&path, format!("`{ago}` stands here twice"), "");
        }
    }
    if rule.also.len() > ALSO_MAX {
        report.add(
            &inside("also"),
            format!("{} times are too many", rule.also.len()),
            format!("at most {ALSO_MAX}"),
        );
    }
    rounds(file, &inside("worse"), report);
}

fn budget(
    slo: &Slo,
    rule: &BurnRate,
    file: &PolicyFile,
    at: &impl Fn(&str) -> Vec<Step>,
    report: &mut Report,
) {
    let inside = |field: &str| within(at("burnRate"), field);
    no_strikes(slo, "burn rate", at, report);
    burn_rate::check(rule, file, &inside, report);
    if let Some(events) = &rule.events {
        query(events, Some(rule.window()), file, &inside("events"), report);
    }
    rounds(file, &inside("objective"), report);
}

fn within(mut path: Vec<Step>, field: &str) -> Vec<Step> {
    path.push(Step::Key(field.to_owned()));
    path
}

/// Counts of failures are for rules that judge each measurement by itself.
fn no_strikes(slo: &Slo, what: &str, at: &impl Fn(&str) -> Vec<Step>, report: &mut Report) {
    for (field, given) in [("failures", slo.failures), ("of", slo.of)] {
        if given.is_some() {
            let message = format!("`{field}` has no meaning for a {what}");
            let help = "how much evidence is enough follows from `analysis.falseRollbackRate`";
            report.add(&at(field), message, help);
        }
    }
}

/// Whether what statistics look at is within the limits.
pub(super) fn rounds(file: &PolicyFile, path: &[Step], report: &mut Report) {
    let (interval, help) = (file.analysis.interval.0, "lengthen `analysis.interval`");
    let rounds = |time: Duration| time.as_millis() / interval.as_millis().max(1);
    if rounds(file.analysis.baseline.0) > u128::from(BASELINE_ROUNDS_MAX) {
        let baseline = file.analysis.baseline;
        let message = format!("the baseline ({baseline}) has more than {BASELINE_ROUNDS_MAX} measurements");
        report.add(path, message, help);
    } else if rounds(file.analysis.duration.0.saturating_mul(2)) > u128::from(KEPT_MAX - 2) {
        let message =
            format!("an analysis can have more than {KEPT_MAX} measurements, which are kept for statistics");
        report.add(path, message, help);
    }
}

/// How far back a checked query looks by itself; not at all where its windows are filled in.
pub(super) fn looks_back(slo: &Slo, file: &PolicyFile) -> Duration {
    let rendered = Template::parse(&slo.query).ok().and_then(|template| filled(&template, file, None));
    let query = rendered.and_then(|text| Query::parse(&text).ok());
    query.map_or(Duration::ZERO, |query| query.looks_back(file.analysis.duration.0))
}

/// The query with samples in place of what is known only later.
pub(super) fn filled(template: &Template, file: &PolicyFile, window: Option<Duration>) -> Option<String> {
    let mut values = BUILT_IN.map(|name| (name, "sample")).into_iter().collect::<BTreeMap<_, _>>();
    values.extend(file.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    template.render(&values, window).ok()
}

fn strikes(slo: &Slo, file: &PolicyFile, at: &impl Fn(&str) -> Vec<Step>, report: &mut Report) {
    let (failures, of) = slo.strikes();
    if failures == 0 {
        report.add(&at("failures"), "`failures` is 0: every change would be convicted", "at least 1");
    }
    if failures > of {
        let message = format!("{failures} failures of {of} measurements can never be reached");
        report.add(&at("failures"), message, format!("at most {of}, or raise `of`"));
    }
    if of > OF_MAX {
        report.add(&at("of"), format!("`of` is {of}"), format!("at most {OF_MAX}"));
        return;
    }
    let (interval, duration) = (file.analysis.interval, file.analysis.duration);
    if interval <= duration && interval.0.saturating_mul(of) > duration.0 {
        let message = format!(
            "{of} measurements, one each {interval}, take longer than the analysis ({duration}): the count could never be reached"
        );
        report.add(&at("of"), message, "lower `of` or `interval`, or lengthen the analysis");
    }
}

/// Checks a query, in which `window` is filled in; what comes out parses.
pub(super) fn query(
    text: &str,
    window: Option<Duration>,
    file: &PolicyFile,
    path: &[Step],
    report: &mut Report,
) -> Option<Query> {
    if text.trim().is_empty() {
        report.add(path, "the query is empty", "");
        return None;
    }
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            let last = text.rfind("{{").and_then(|at| text.get(at..)?.lines().next()).unwrap_or("{{");
            let (needle, help) = match &error {
                TemplateError::Unclosed => (last.to_owned(), "close it with `}}`"),
                TemplateError::BadName(name) => (placeholder(text, name), ""),
                TemplateError::NoRange => (placeholder(text, WINDOW), "write `[{{ window }}]`"),
                TemplateError::NotQuoted(name) => {
                    let help = "put it between double quotes, where no value can change the query's meaning";
                    (placeholder(text, name), help)
                }
            };
            report.add_query(path, Some(&needle), error.to_string(), help);
            return None;
        }
    };
    let mut known: Vec<&str> = BUILT_IN.to_vec();
    known.extend(file.variables.keys().map(String::as_str));
    let unknown: BTreeSet<&str> = template.names().filter(|name| !known.contains(name)).collect();
    for name in &unknown {
        let needle = placeholder(text, name);
        report.add_query(
            path,
            Some(&needle),
            format!("unknown variable `{name}`"),
            &suggestion(name, &known),
        );
    }
    if !unknown.is_empty() {
        return None;
    }
    if window.is_none() && template.has_window() {
        let needle = placeholder(text, WINDOW);
        let message = "the slo has no windows to fill in";
        report.add_query(path, Some(&needle), message.to_owned(), "write a duration, such as `[1m]`");
        return None;
    }
    if window.is_some() && !template.has_window() {
        let message = "the query does not look back over `{{ window }}`, which a burn rate fills in";
        report.add_query(path, None, message.to_owned(), "write `[{{ window }}]` in place of each `[…]`");
        return None;
    }
    let text = filled(&template, file, window)?;
    if text.chars().count() > QUERY_CHARS_MAX {
        report.add(path, "the query is too long", format!("at most {QUERY_CHARS_MAX} characters"));
        return None;
    }
    match Query::parse(&text) {
        Ok(query) => {
            sense(&query, window, file, path, report);
            Some(query)
        }
        Err(words) => {
            let filled = template.names().any(|name| BUILT_IN.contains(&name));
            let help = if let Some(advice) = advice(&words) {
                advice
            } else if words.contains("invalid promql") {
                "the check cannot say where; Prometheus itself can, with the query on its page"
            } else if filled {
                "for this check, placeholders were filled with `sample`"
            } else {
                ""
            };
            report.add_query(path, None, format!("broken PromQL: {words}"), help);
            None
        }
    }
}

/// The placeholder as it was written, with its blanks.
fn placeholder(query: &str, name: &str) -> String {
    let mut candidates = query.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
    let found = candidates.find(|(inner, _)| inner.trim() == name);
    found.map_or_else(|| "{{".to_owned(), |(inner, _)| format!("{{{{{inner}}}}}"))
}

fn sense(query: &Query, window: Option<Duration>, file: &PolicyFile, path: &[Step], report: &mut Report) {
    if let Some(what) = query.not_a_number() {
        let message = format!("the query gives {what} where one number is wanted");
        report.add_query(path, None, message, "wrap it, for example in `rate(…)`");
    }
    let analysis = file.analysis.duration;
    let back = query.looks_back(analysis.0);
    if window.is_some_and(|window| window != back) {
        let message = "the query looks back over something else beside `{{ window }}`, so what it gives cannot be added up";
        report.add_query(path, None, message.to_owned(), "write `[{{ window }}]` in place of each `[…]`");
    } else if back > analysis.0 {
        let back = format_duration(back);
        let message = format!(
            "the query looks back {back}, longer than the analysis ({analysis}): it would mostly measure the time before the change"
        );
        report.add(path, message, "shorten the window in `[…]`, or lengthen `analysis.duration`");
    }
}

pub(super) fn limits(slo: &Slo, query: Option<&Query>, at: &impl Fn(&str) -> Vec<Step>, report: &mut Report) {
    let (min, max) = (slo.min, slo.max);
    let mut usable = true;
    for (field, value) in [("min", min), ("max", max)] {
        let Some(value) = value else { continue };
        if !value.is_finite() {
            usable = false;
            report.add(&at(field), format!("`{field}` is not a finite number"), "");
        } else if value < 0.0 && query.is_some_and(|query| !query.can_be_negative()) {
            usable = false;
            report.add(
                &at(field),
                format!("a negative limit ({value}) for a query that gives no negative values"),
                "a gauge that is negative itself can be written as `gauge - 0`",
            );
        }
    }
    if let (Some(min), Some(max), true) = (min, max, usable)
        && min > max
    {
        report.add(
            &at("min"),
            format!("`min` ({min}) is above `max` ({max}): no value is good"),
            "exchange the two?",
        );
    }
}
