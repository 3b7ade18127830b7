//! What works, though probably not as it is meant: the usual mistakes in queries. Pure; places are added by the reader.
//!
//! A warning that is wrong now and then teaches people to pass over all of them. So each rule here asks for a sure sign.

mod marks;
mod query;
mod ratio;
mod reach;
mod series;

use std::time::Duration;

use promql_parser::parser::{Expr, VectorSelector};

use self::marks::Marks;
use super::check::{Finding, Needle, Report, Step, keys};
use super::code::Code;
use super::file::{BurnRate, PolicyFile, Slo};
use super::mistake::Mistake;
use super::promql::{Query, children};
use super::set::SourceFile;
use super::slo::filled;
use super::structure;
use crate::engine::template::Template;

/// What cannot be read from a policy.
#[derive(Clone, Copy, Debug)]
pub struct Assumptions {
    /// How long between two scrapes of the metrics that the queries read.
    pub scrape_interval: Duration,
}

/// Endings of the names of counters, and of a histogram's parts, which are counters too.
const COUNTER_ENDINGS: [&str; 4] = ["_total", "_count", "_sum", "_bucket"];

/// Levels of a query that is looked at; nobody reads a deeper one, and it would exhaust the stack.
const DEPTH_MAX: usize = 100;

/// Warns of what a file's queries probably do not mean; a file whose structure is broken gets none.
pub fn warnings(file: &SourceFile, assumptions: Assumptions) -> Vec<Mistake> {
    let Ok(text) = std::str::from_utf8(&file.bytes) else { return Vec::new() };
    let reading = structure::read(&file.name, text);
    let Some(policy) = &reading.policy else { return Vec::new() };
    let mut report = Report::default();
    intervals(policy, assumptions, &mut report);
    for (i, slo) in policy.slos.iter().enumerate() {
        lint(policy, ("slos", i), slo, assumptions, &mut report);
        reach::comparison(policy, i, slo, &mut report);
        reach::burn_rate(policy, i, slo, &mut report);
    }
    for (i, guard) in policy.guards.iter().enumerate() {
        lint(policy, ("guards", i), &guard.as_slo(), assumptions, &mut report);
    }
    structure::locate(&file.name, text, &reading, report.findings())
}

/// Gives findings about a file their places in it.
pub fn place(file: &SourceFile, findings: Vec<Finding>) -> Vec<Mistake> {
    let Ok(text) = std::str::from_utf8(&file.bytes) else { return Vec::new() };
    structure::locate(&file.name, text, &structure::read(&file.name, text), findings)
}

fn intervals(policy: &PolicyFile, assumptions: Assumptions, report: &mut Report) {
    let (interval, scrapes) = (policy.analysis.interval.0, assumptions.scrape_interval);
    if !policy.slos.is_empty() && interval < scrapes {
        let message = format!(
            "a measurement each {}, and a scrape each {} only: one scrape is measured several times",
            shown(interval),
            shown(scrapes)
        );
        let help = format!(
            "write `interval: {}`, or tell `--scrape-interval` if scrapes come more often",
            shown(scrapes)
        );
        report.warn(&keys(&["analysis", "interval"]), Code::FastInterval, None, message, &help);
    }
}

fn lint(
    policy: &PolicyFile,
    (section, index): (&str, usize),
    slo: &Slo,
    assumptions: Assumptions,
    report: &mut Report,
) {
    let path = |fields: &[&str]| {
        let mut path = vec![Step::Key(section.to_owned()), Step::Index(index)];
        path.extend(keys(fields));
        path
    };
    let window = slo.burn_rate.as_ref().map(BurnRate::window);
    let events = slo.burn_rate.as_ref().and_then(|rule| rule.events.as_deref());
    let texts =
        [(Some(slo.query.as_str()), path(&["query"]), false), (events, path(&["burnRate", "events"]), true)];
    for (text, path_to, counts) in texts {
        let Some(text) = text else { continue };
        let Some(query) = parsed(policy, text, window) else { continue };
        let mut lint = Lint {
            policy,
            slo,
            text,
            assumptions,
            marks: Marks::find(&query.0, text),
            path: path_to,
            limits: [path(&["min"]), path(&["max"])],
            report,
        };
        lint.query(&query.0);
        if slo.burn_rate.is_some() {
            lint.burn_rate(&query.0, counts);
        }
    }
}

/// The query, filled in as for the check; one that does not parse is a mistake, which is told elsewhere.
fn parsed(policy: &PolicyFile, text: &str, window: Option<Duration>) -> Option<Query> {
    let text = filled(&Template::parse(text).ok()?, policy, window)?;
    Query::parse(&text).ok().filter(|query| !is_deeper(&query.0, DEPTH_MAX))
}

/// One query with all that is needed to judge it.
struct Lint<'a> {
    policy: &'a PolicyFile,
    slo: &'a Slo,
    /// The query as it was written.
    text: &'a str,
    assumptions: Assumptions,
    marks: Marks,
    path: Vec<Step>,
    /// The ways to `min` and `max`.
    limits: [Vec<Step>; 2],
    report: &'a mut Report,
}

impl Lint<'_> {
    /// Warns at a part of the query.
    fn warn(&mut self, part: &Expr, code: Code, message: impl Into<String>, help: &str) {
        let needle = self.marks.of(part).and_then(|at| Needle::at(self.text, at));
        self.report.warn(&self.path, code, needle, message.into(), help);
    }

    /// Warns at the first mention of a metric.
    fn warn_at_metric(&mut self, metric: &str, code: Code, message: String, help: &str) {
        let needle = self.text.find(metric).map(|_| Needle::first(metric));
        self.report.warn(&self.path, code, needle, message, help);
    }
}

/// Whether an expression is nested deeper than this.
fn is_deeper(expr: &Expr, levels: usize) -> bool {
    levels == 0 || children(expr).into_iter().any(|child| is_deeper(child, levels - 1))
}

/// The expression without the brackets around it.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => bare(&paren.expr),
        other => other,
    }
}

/// The number, if the expression is one.
fn number(expr: &Expr) -> Option<f64> {
    match bare(expr) {
        Expr::NumberLiteral(number) => Some(number.val),
        _ => None,
    }
}

/// All selectors of an expression, from the left.
fn selectors(expr: &Expr) -> Vec<&VectorSelector> {
    match expr {
        Expr::VectorSelector(selector) => vec![selector],
        Expr::MatrixSelector(matrix) => vec![&matrix.vs],
        other => children(other).into_iter().flat_map(selectors).collect(),
    }
}

/// A duration as people write it.
fn shown(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

#[cfg(test)]
mod tests;
