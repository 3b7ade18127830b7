//! Reading `PromQL` offline: whether it parses, what it gives, how far it looks back.

use std::time::Duration;

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Call, Expr, Offset, token};

/// Characters of a query; past it the parser's recursion could exhaust the stack.
pub(super) const QUERY_CHARS_MAX: usize = 4096;

/// What is known about a query without running it.
pub(super) struct Query(pub(super) Expr);

impl Query {
    /// Parses a query without placeholders; the error is the parser's own words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        promql_parser::parser::parse(text).map(Self).map_err(|error| error.trim().to_owned())
    }

    /// Whether it is nothing but the selector of one metric's series.
    pub(super) fn is_selector(&self) -> bool {
        matches!(self.0, Expr::VectorSelector(_))
    }

    /// Why the query cannot give one number, when it cannot.
    pub(super) fn not_a_number(&self) -> Option<&'static str> {
        match self.0.value_type() {
            ValueType::Vector | ValueType::Scalar => None,
            ValueType::Matrix => Some("a range of samples"),
            ValueType::String => Some("a text"),
        }
    }

    /// The longest time that the query looks back, windows within windows added up.
    ///
    /// What is shifted at least `analysis` into the past by `offset` is a comparison with the time before the change, and meant so.
    pub(super) fn looks_back(&self, analysis: Duration) -> Duration {
        looks_back(&self.0, analysis)
    }

    /// Whether anything in the query can turn values that are never negative, such as counts and times, into negative ones.
    pub(super) fn can_be_negative(&self) -> bool {
        can_be_negative(&self.0)
    }
}

/// What to do about the usual mistakes, by the parser's words for them.
pub(super) fn advice(words: &str) -> Option<&'static str> {
    let says = |part: &str| words.contains(part);
    Some(if says("ranges only allowed for vector selectors") {
        "a range stands behind a metric and its matchers, as in `sum(rate(x[1m]))`; behind anything else write `[5m:15s]`"
    } else if says("expected type matrix in call") {
        "give it a range, as in `rate(x[1m])`"
    } else if says("'$'") {
        "`$…` is Grafana's: write the duration or the value itself, or a placeholder such as `{{ application }}`"
    } else if says("in label matching, expected string") {
        "put the value between quotes, as in `code=\"500\"`"
    } else {
        return None;
    })
}

fn before(offset: Option<&Offset>, analysis: Duration) -> bool {
    matches!(offset, Some(Offset::Pos(shift)) if *shift >= analysis)
}

fn looks_back(expr: &Expr, analysis: Duration) -> Duration {
    let own = match expr {
        Expr::MatrixSelector(selector) if !before(selector.vs.offset.as_ref(), analysis) => selector.range,
        Expr::Subquery(subquery) if before(subquery.offset.as_ref(), analysis) => return Duration::ZERO,
        Expr::Subquery(subquery) => subquery.range,
        _ => Duration::ZERO,
    };
    let below = children(expr).into_iter().map(|child| looks_back(child, analysis)).max();
    own.saturating_add(below.unwrap_or_default())
}

/// Functions whose values have a sign of their own.
const SIGNED: [&str; 14] = [
    "delta",
    "idelta",
    "deriv",
    "predict_linear",
    "ln",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "sinh",
    "tanh",
    "asin",
    "atan",
];

fn can_be_negative(expr: &Expr) -> bool {
    let here = match expr {
        Expr::Unary(_) => true,
        Expr::Binary(binary) => binary.op.id() == token::T_SUB,
        Expr::NumberLiteral(number) => number.val < 0.0,
        Expr::Call(Call { func, .. }) => SIGNED.contains(&func.name),
        _ => false,
    };
    here || children(expr).into_iter().any(can_be_negative)
}

/// The parts of an expression, in the order of the text.
pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Aggregate(aggregate) => {
            aggregate.param.as_deref().into_iter().chain(std::iter::once(&*aggregate.expr)).collect()
        }
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Paren(paren) => vec![&paren.expr],
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Call(call) => call.args.args.iter().map(AsRef::as_ref).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => vec![],
    }
}
