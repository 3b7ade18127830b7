//! `PromQL`, the part that SLOs of the demo and the tests use; the rest is refused by name.

use std::collections::BTreeMap;
use std::time::Duration;

use promql_parser::parser::{
    AggregateExpr, Call, Expr, LabelModifier, MatrixSelector, Offset, VectorSelector,
};

use super::binary::binary;
use super::series::{Database, LOOKBACK_SECONDS, Labels, NAME, Sample};

/// The value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Scalar(f64),
    Vector(Vec<(Labels, f64)>),
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsupported(pub(super) String);

pub(super) fn unsupported(what: impl std::fmt::Display) -> Unsupported {
    Unsupported(format!("the sandbox's Prometheus does not evaluate {what}"))
}

/// Evaluates an expression at a time.
pub(super) fn evaluate(database: &Database, expr: &Expr, at: f64) -> Result<Answer, Unsupported> {
    match expr {
        Expr::NumberLiteral(number) => Ok(Answer::Scalar(number.val)),
        Expr::Paren(paren) => evaluate(database, &paren.expr, at),
        Expr::Unary(unary) => Ok(match evaluate(database, &unary.expr, at)? {
            Answer::Scalar(value) => Answer::Scalar(-value),
            Answer::Vector(vector) => {
                Answer::Vector(vector.into_iter().map(|(labels, value)| (unnamed(labels), -value)).collect())
            }
        }),
        Expr::VectorSelector(selector) => instant(database, selector, at),
        Expr::Call(call) => function(database, call, at),
        Expr::Aggregate(aggregate) => aggregation(database, aggregate, at),
        Expr::Binary(operation) => {
            let left = evaluate(database, &operation.lhs, at)?;
            let right = evaluate(database, &operation.rhs, at)?;
            binary(operation, left, right)
        }
        Expr::MatrixSelector(_) => Err(unsupported("a range outside of rate() or increase()")),
        Expr::Subquery(_) => Err(unsupported("subqueries")),
        Expr::StringLiteral(_) => Err(unsupported("strings")),
        Expr::Extension(_) => Err(unsupported("extensions")),
    }
}

pub(super) fn unnamed(mut labels: Labels) -> Labels {
    labels.remove(NAME);
    labels
}

fn instant(database: &Database, selector: &VectorSelector, at: f64) -> Result<Answer, Unsupported> {
    let at = shifted(selector, at)?;
    let found = database.select(selector.name.as_deref(), &selector.matchers, at - LOOKBACK_SECONDS, at);
    let newest = found
        .into_iter()
        .filter_map(|(labels, samples)| Some((labels, samples.last().and_then(|s| s.value)?)));
    Ok(Answer::Vector(newest.collect()))
}

fn shifted(selector: &VectorSelector, at: f64) -> Result<f64, Unsupported> {
    if selector.at.is_some() {
        return Err(unsupported("the modifier `@`"));
    }
    Ok(match selector.offset {
        None => at,
        Some(Offset::Pos(by)) => at - by.as_secs_f64(),
        Some(Offset::Neg(by)) => at + by.as_secs_f64(),
    })
}

fn function(database: &Database, call: &Call, at: f64) -> Result<Answer, Unsupported> {
    let argument = call.args.args.first().map(Box::as_ref);
    match (call.func.name, argument) {
        ("rate", Some(Expr::MatrixSelector(range))) => over_range(database, range, at, true),
        ("increase", Some(Expr::MatrixSelector(range))) => over_range(database, range, at, false),
        ("vector", Some(argument)) => match evaluate(database, argument, at)? {
            Answer::Scalar(value) => Ok(Answer::Vector(vec![(Labels::new(), value)])),
            Answer::Vector(_) => Err(unsupported("vector() of a vector")),
        },
        (name, _) => Err(unsupported(format!("the function {name}() (only rate, increase and vector)"))),
    }
}

fn over_range(
    database: &Database,
    range: &MatrixSelector,
    at: f64,
    per_second: bool,
) -> Result<Answer, Unsupported> {
    let end = shifted(&range.vs, at)?;
    let start = end - range.range.as_secs_f64();
    let found = database.select(range.vs.name.as_deref(), &range.vs.matchers, start, end);
    let divisor = if per_second { range.range } else { Duration::from_secs(1) };
    let values = found.into_iter().filter_map(|(labels, samples)| {
        let increase = increase(&samples, start, end)?;
        Some((unnamed(labels), increase / divisor.as_secs_f64()))
    });
    Ok(Answer::Vector(values.collect()))
}

/// How much a counter grew in a range: what was seen, resets counted as growth from zero, extended towards the
/// range's borders as Prometheus documents for `rate`.
fn increase(samples: &[Sample], start: f64, end: f64) -> Option<f64> {
    let points: Vec<(f64, f64)> = samples.iter().filter_map(|s| Some((s.at, s.value?))).collect();
    let ((first_at, first), (last_at, _)) = (*points.first()?, *points.last()?);
    let intervals = u32::try_from(points.len() - 1).ok().filter(|intervals| *intervals > 0)?;
    let grown: f64 = points
        .iter()
        .zip(points.iter().skip(1))
        .map(|((_, before), (_, after))| if after < before { *after } else { after - before })
        .sum();
    let covered = last_at - first_at;
    let usual = covered / f64::from(intervals);
    // A border further away than samples usually lie apart means that the series began or ended inside.
    let extension = |gap: f64| if gap < usual * 1.1 { gap } else { usual / 2.0 };
    let mut before = extension(first_at - start);
    if grown > 0.0 {
        // A counter was never below zero.
        before = before.min(covered * (first / grown));
    }
    Some(grown * (covered + before + extension(end - last_at)) / covered)
}

fn aggregation(database: &Database, aggregate: &AggregateExpr, at: f64) -> Result<Answer, Unsupported> {
    let name = aggregate.op.to_string();
    let fold: fn(&[f64]) -> f64 = match name.as_str() {
        "sum" => |values| values.iter().sum(),
        "avg" => |values| values.iter().sum::<f64>() / count(values),
        "min" => |values| values.iter().copied().fold(f64::NAN, f64::min),
        "max" => |values| values.iter().copied().fold(f64::NAN, f64::max),
        "count" => count,
        other => return Err(unsupported(format!("{other}() (only sum, avg, min, max and count)"))),
    };
    let Answer::Vector(vector) = evaluate(database, &aggregate.expr, at)? else {
        return Err(unsupported(format!("{name}() of a scalar")));
    };
    let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    for (labels, value) in vector {
        groups.entry(group(unnamed(labels), aggregate.modifier.as_ref())).or_default().push(value);
    }
    Ok(Answer::Vector(groups.into_iter().map(|(labels, values)| (labels, fold(&values))).collect()))
}

fn group(mut labels: Labels, modifier: Option<&LabelModifier>) -> Labels {
    match modifier {
        None => labels.clear(),
        Some(LabelModifier::Include(by)) => labels.retain(|name, _| by.labels.contains(name)),
        Some(LabelModifier::Exclude(without)) => labels.retain(|name, _| !without.labels.contains(name)),
    }
    labels
}

fn count(values: &[f64]) -> f64 {
    u32::try_from(values.len()).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(points: &[(f64, f64)], start: f64, end: f64, expected: Option<f64>) {
        let samples: Vec<Sample> = points.iter().map(|(at, v)| Sample { at: *at, value: Some(*v) }).collect();
        let got = increase(&samples, start, end);
        let near = match (got, expected) {
            (Some(got), Some(expected)) => (got - expected).abs() < 1e-9,
            (got, expected) => got == expected,
        };
        assert!(near, "{points:?}: {got:?} instead of {expected:?}");
    }

    #[test]
    fn increase_extends_to_the_borders_and_survives_resets() {
        // Samples fill the range: the slope holds up to the borders.
        check(&[(1.0, 100.0), (2.0, 110.0), (3.0, 120.0)], 0.5, 3.5, Some(30.0));
        // The series began inside the range: half an interval is added in front.
        check(&[(8.0, 100.0), (9.0, 110.0), (10.0, 120.0)], 0.0, 10.0, Some(25.0));
        // It began at zero: nothing is added in front.
        check(&[(8.0, 0.0), (9.0, 10.0), (10.0, 20.0)], 0.0, 10.0, Some(20.0));
        check(&[(1.0, 10.0), (2.0, 20.0), (3.0, 5.0)], 1.0, 3.0, Some(15.0));
        check(&[(1.0, 10.0)], 0.0, 2.0, None);
    }
}
