//! How many series a query gives, as far as its text tells.

use std::collections::BTreeSet;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorSelector, token};

use super::{COUNTER_ENDINGS, children, number, selectors};

/// The series of an expression's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One number without labels, which goes with anything.
    Scalar,
    /// One series for each value of the free labels; others have only one value. Without any it is one series.
    Grouped { labels: BTreeSet<String>, free: BTreeSet<String> },
    /// Surely several.
    Many(&'static str),
    /// Two sides that never have the same labels.
    Nothing,
    /// Who knows.
    Unknown,
}

impl Shape {
    fn one() -> Self {
        Self::Grouped { labels: BTreeSet::new(), free: BTreeSet::new() }
    }

    fn is_one(&self) -> bool {
        matches!(self, Self::Grouped { free, .. } if free.is_empty())
    }
}

/// The shape of an expression.
pub(super) fn shape(expr: &Expr) -> Shape {
    match expr {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Shape::Scalar,
        Expr::Paren(paren) => shape(&paren.expr),
        Expr::Unary(unary) => shape(&unary.expr),
        Expr::Subquery(subquery) => shape(&subquery.expr),
        Expr::Aggregate(aggregate) => aggregated(aggregate),
        Expr::Binary(binary) => combined(binary),
        Expr::Call(call) => called(call),
        Expr::VectorSelector(selector) if selector.name.as_deref() == Some("up") && !is_pinned(selector) => {
            Shape::Many("`up` has a series for each instance")
        }
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) | Expr::Extension(_) => Shape::Unknown,
    }
}

/// Whether the selector names the pod or the instance that it means.
fn is_pinned(selector: &VectorSelector) -> bool {
    ["instance", "pod", "pod_name", "kubernetes_pod_name"].iter().any(|label| pins(selector, label))
}

fn pins(selector: &VectorSelector, label: &str) -> bool {
    let equal = |matcher: &Matcher| matcher.name == label && matcher.op == MatchOp::Equal;
    selector.matchers.or_matchers.is_empty() && selector.matchers.matchers.iter().any(equal)
}

fn aggregated(aggregate: &AggregateExpr) -> Shape {
    let picks = matches!(aggregate.op.id(), token::T_TOPK | token::T_BOTTOMK | token::T_LIMITK);
    if picks && aggregate.param.as_deref().and_then(number).is_some_and(|n| n > 1.0) {
        return Shape::Many("it picks several series");
    }
    if matches!(aggregate.op.id(), token::T_COUNT_VALUES | token::T_LIMIT_RATIO) {
        return Shape::Unknown;
    }
    match &aggregate.modifier {
        // The one that is picked keeps its labels.
        _ if picks => Shape::Unknown,
        None => Shape::one(),
        Some(LabelModifier::Include(list)) => {
            let labels: BTreeSet<String> = list.labels.iter().cloned().collect();
            let read = selectors(&aggregate.expr);
            let is_free = |label: &&String| !read.iter().all(|selector| pins(selector, label));
            let free = match shape(&aggregate.expr) {
                inner if inner.is_one() => BTreeSet::new(),
                _ => labels.iter().filter(is_free).cloned().collect(),
            };
            Shape::Grouped { labels, free }
        }
        Some(LabelModifier::Exclude(_)) => Shape::Unknown,
    }
}

fn called(call: &Call) -> Shape {
    let args = || call.args.args.iter().map(|arg| &**arg);
    match call.func.name {
        "vector" | "absent" | "absent_over_time" => Shape::one(),
        "scalar" | "time" | "pi" => Shape::Scalar,
        "label_replace" | "label_join" => Shape::Unknown,
        "histogram_quantile" => match args().nth(1).map(shape) {
            Some(Shape::Grouped { mut labels, mut free }) => {
                labels.remove("le");
                free.remove("le");
                Shape::Grouped { labels, free }
            }
            Some(other) => other,
            None => Shape::Unknown,
        },
        "rate" | "irate" | "increase" => match args().next() {
            Some(Expr::MatrixSelector(matrix)) => {
                let name = matrix.vs.name.as_deref().unwrap_or_default();
                let is_counter = !name.contains(':') && COUNTER_ENDINGS.iter().any(|end| name.ends_with(end));
                if is_counter && !is_pinned(&matrix.vs) {
                    Shape::Many("it has a series for each pod, code, path and the like")
                } else {
                    Shape::Unknown
                }
            }
            Some(other) => shape(other),
            None => Shape::Unknown,
        },
        _ => args().map(shape).find(|shape| *shape != Shape::Scalar).unwrap_or(Shape::Scalar),
    }
}

fn combined(binary: &BinaryExpr) -> Shape {
    let (left, right) = (shape(&binary.lhs), shape(&binary.rhs));
    match (binary.op.id(), &left, &right) {
        (token::T_LAND | token::T_LUNLESS, ..) => left,
        (token::T_LOR, Shape::Grouped { labels: a, free }, Shape::Grouped { labels: b, .. }) => {
            match (a == b, free.is_empty()) {
                (true, _) => left,
                (false, true) => Shape::Many("both sides of `or` have labels of their own, so both stay"),
                (false, false) => Shape::Many("`or` adds the series of its right side"),
            }
        }
        (token::T_LOR, ..) => Shape::Unknown,
        (_, Shape::Scalar, _) => right,
        (_, _, Shape::Scalar) => left,
        (_, Shape::Nothing, _) | (_, _, Shape::Nothing) => Shape::Nothing,
        _ if binary.modifier.as_ref().is_some_and(|modifier| modifier.matching.is_some()) => Shape::Unknown,
        (_, Shape::Grouped { labels: a, .. }, Shape::Grouped { labels: b, .. }) if a != b => Shape::Nothing,
        (_, Shape::Grouped { .. }, Shape::Grouped { .. }) => {
            if left.is_one() {
                left
            } else {
                right
            }
        }
        (_, Shape::Many(_), Shape::Many(_)) => left,
        _ => Shape::Unknown,
    }
}

/// The part of the query that makes it several series, for the place of a warning.
pub(super) fn culprit(expr: &Expr) -> &Expr {
    match expr {
        Expr::Aggregate(_) | Expr::VectorSelector(_) => expr,
        Expr::Call(call) if call.func.name != "histogram_quantile" && !has_shape_inside(call) => expr,
        _ => children(expr)
            .into_iter()
            .find(|child| !matches!(shape(child), Shape::Scalar | Shape::Unknown) && !shape(child).is_one())
            .map_or(expr, culprit),
    }
}

fn has_shape_inside(call: &Call) -> bool {
    call.args.args.iter().any(|arg| matches!(shape(arg), Shape::Many(_) | Shape::Grouped { .. }))
}
