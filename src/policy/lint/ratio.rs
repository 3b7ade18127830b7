//! Ratios of requests: the share that fails, or that succeeds.

use promql_parser::label::Matcher;
use promql_parser::parser::{BinaryExpr, Expr, VectorSelector, token};

use super::{COUNTER_ENDINGS, bare, children, number, selectors};

/// Parts of the names of what is counted only when something fails.
const FAILURES: [&str; 6] = ["error", "fail", "exception", "reject", "timeout", "5xx"];

/// A ratio of requests somewhere in a query.
pub(super) struct Share {
    /// Whether it is multiplied by 100.
    pub(super) percent: bool,
}

impl Share {
    /// Whether this limit is all that can be.
    pub(super) fn is_all(&self, limit: f64) -> bool {
        limit >= if self.percent { 100.0 } else { 1.0 }
    }
}

/// The ratio of requests that the query's value is, if it is one.
pub(super) fn of_requests(expr: &Expr) -> Option<Share> {
    match bare(expr) {
        Expr::Binary(binary) => match (binary.op.id(), number(&binary.lhs), number(&binary.rhs)) {
            (token::T_DIV, None, None) => {
                part_and_whole(binary).map(|_| Share { percent: has_hundred(&binary.lhs) })
            }
            (token::T_SUB, Some(_), None) => of_requests(&binary.rhs),
            (token::T_MUL, Some(factor), None) => {
                of_requests(&binary.rhs).map(|_| Share { percent: is_hundred(factor) })
            }
            (token::T_MUL, None, Some(factor)) => {
                of_requests(&binary.lhs).map(|_| Share { percent: is_hundred(factor) })
            }
            (token::T_LOR, ..) => of_requests(&binary.lhs),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the numerator was multiplied by 100: what stands from left to right is done so.
fn has_hundred(expr: &Expr) -> bool {
    number(expr).is_some_and(is_hundred) || children(expr).into_iter().any(has_hundred)
}

fn is_hundred(factor: f64) -> bool {
    (factor - 100.0).abs() < f64::EPSILON
}

/// Why the numerator of a ratio may have no series though there is traffic, if nothing stands in for it.
pub(super) fn may_have_no_numerator(binary: &BinaryExpr) -> Option<String> {
    let part = part_and_whole(binary)?;
    let handled = [&binary.lhs, &binary.rhs].into_iter().any(|side| is_handled(side));
    (!handled).then_some(part)
}

/// Whether the writer has thought of there being nothing.
fn is_handled(expr: &Expr) -> bool {
    let here = match expr {
        Expr::Binary(binary) => binary.op.id() == token::T_LOR || binary.op.is_comparison_operator(),
        Expr::Call(call) => call.func.name.starts_with("clamp"),
        _ => false,
    };
    here || children(expr).into_iter().any(is_handled)
}

/// What the numerator is a part by, if this is a rate by a rate of which the first is a part.
fn part_and_whole(binary: &BinaryExpr) -> Option<String> {
    if binary.op.id() != token::T_DIV || !has_rate(&binary.lhs) || !has_rate(&binary.rhs) {
        return None;
    }
    let (parts, wholes) = (selectors(&binary.lhs), selectors(&binary.rhs));
    let ([part], [whole]) = (parts.as_slice(), wholes.as_slice()) else { return None };
    // A past and a present of the same are no part and whole.
    if part.offset.is_some() || whole.offset.is_some() {
        return None;
    }
    let (name, all) = (part.name.as_deref()?, whole.name.as_deref()?);
    if name == all {
        let only: Vec<String> = narrowing(part, whole);
        return (!only.is_empty()).then(|| format!("no series of `{name}` has {}", only.join(", ")));
    }
    let counts_failures = FAILURES.iter().any(|word| name.contains(word));
    (counts_failures && stem(name) != stem(all))
        .then(|| format!("`{name}` has no series, as before it is counted for the first time"))
}

/// The matchers of the part that the whole does not have.
fn narrowing(part: &VectorSelector, whole: &VectorSelector) -> Vec<String> {
    // All buckets of a histogram come and go together.
    let has = |matcher: &&Matcher| matcher.name != "le" && !whole.matchers.matchers.contains(matcher);
    part.matchers.matchers.iter().filter(has).map(|matcher| format!("`{matcher}`")).collect()
}

fn stem(name: &str) -> &str {
    COUNTER_ENDINGS.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

fn has_rate(expr: &Expr) -> bool {
    let here = matches!(expr, Expr::Call(call) if ["rate", "irate", "increase"].contains(&call.func.name));
    here || children(expr).into_iter().any(has_rate)
}
