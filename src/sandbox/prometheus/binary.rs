//! Operators between two values.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::eval::{Answer, Unsupported, unnamed, unsupported};
use super::series::Labels;

/// Applies an operator.
pub(super) fn binary(operation: &BinaryExpr, left: Answer, right: Answer) -> Result<Answer, Unsupported> {
    let name = operation.op.to_string();
    let modifier = operation.modifier.as_ref();
    let as_number = modifier.is_some_and(|modifier| modifier.return_bool);
    if let Some(modifier) = modifier
        && (modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some())
    {
        return Err(unsupported("fill values"));
    }
    if matches!(name.as_str(), "and" | "or" | "unless") {
        let (Answer::Vector(left), Answer::Vector(right)) = (left, right) else {
            return Err(unsupported(format!("`{name}` with a scalar")));
        };
        return Ok(Answer::Vector(set_operation(&name, modifier, left, right)));
    }
    let operator = Operator::parse(&name).ok_or_else(|| unsupported(format!("the operator `{name}`")))?;
    match (left, right) {
        (Answer::Scalar(left), Answer::Scalar(right)) => {
            Ok(Answer::Scalar(operator.value(left, right).unwrap_or(0.0)))
        }
        (Answer::Vector(vector), Answer::Scalar(scalar)) => {
            Ok(Answer::Vector(each(vector, operator, as_number, |value| (value, scalar))))
        }
        (Answer::Scalar(scalar), Answer::Vector(vector)) => {
            Ok(Answer::Vector(each(vector, operator, as_number, |value| (scalar, value))))
        }
        (Answer::Vector(left), Answer::Vector(right)) => {
            pairs(operator, as_number, modifier, left, right).map(Answer::Vector)
        }
    }
}

#[derive(Clone, Copy)]
enum Operator {
    Arithmetic(fn(f64, f64) -> f64),
    /// Holds for one of these orders; NaN has none.
    Comparison(fn(Option<Ordering>) -> bool),
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "+" => Self::Arithmetic(|a, b| a + b),
            "-" => Self::Arithmetic(|a, b| a - b),
            "*" => Self::Arithmetic(|a, b| a * b),
            "/" => Self::Arithmetic(|a, b| a / b),
            "%" => Self::Arithmetic(|a, b| a % b),
            "^" => Self::Arithmetic(f64::powf),
            "==" => Self::Comparison(|order| order == Some(Ordering::Equal)),
            "!=" => Self::Comparison(|order| order != Some(Ordering::Equal)),
            ">" => Self::Comparison(|order| order == Some(Ordering::Greater)),
            "<" => Self::Comparison(|order| order == Some(Ordering::Less)),
            ">=" => Self::Comparison(|order| matches!(order, Some(Ordering::Greater | Ordering::Equal))),
            "<=" => Self::Comparison(|order| matches!(order, Some(Ordering::Less | Ordering::Equal))),
            _ => return None,
        })
    }

    /// The number, or 1 for a comparison that holds; none for one that does not.
    fn value(self, left: f64, right: f64) -> Option<f64> {
        match self {
            Self::Arithmetic(of) => Some(of(left, right)),
            Self::Comparison(holds) => holds(left.partial_cmp(&right)).then_some(1.0),
        }
    }

    /// The element of the result: comparisons filter and keep the vector's value, unless a number is asked for.
    fn element(
        self,
        labels: Labels,
        kept: f64,
        (left, right): (f64, f64),
        as_number: bool,
    ) -> Option<(Labels, f64)> {
        let value = self.value(left, right);
        match self {
            Self::Comparison(_) if !as_number => value.map(|_| (labels, kept)),
            Self::Comparison(_) | Self::Arithmetic(_) => Some((unnamed(labels), value.unwrap_or(0.0))),
        }
    }
}

fn each(
    vector: Vec<(Labels, f64)>,
    operator: Operator,
    as_number: bool,
    sides: impl Fn(f64) -> (f64, f64),
) -> Vec<(Labels, f64)> {
    vector
        .into_iter()
        .filter_map(|(labels, value)| operator.element(labels, value, sides(value), as_number))
        .collect()
}

fn pairs(
    operator: Operator,
    as_number: bool,
    modifier: Option<&BinModifier>,
    left: Vec<(Labels, f64)>,
    right: Vec<(Labels, f64)>,
) -> Result<Vec<(Labels, f64)>, Unsupported> {
    if modifier.is_some_and(|modifier| modifier.card != VectorMatchCardinality::OneToOne) {
        return Err(unsupported("group_left and group_right"));
    }
    let ambiguous = || {
        let why = "many-to-many matching not allowed: matching labels must be unique on one side";
        Unsupported(why.to_owned())
    };
    let mut partners: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, value) in right {
        if partners.insert(signature(&labels, modifier), value).is_some() {
            return Err(ambiguous());
        }
    }
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for (labels, value) in left {
        let key = signature(&labels, modifier);
        let Some(partner) = partners.get(&key) else { continue };
        if !seen.insert(key.clone()) {
            return Err(ambiguous());
        }
        let filters = matches!(operator, Operator::Comparison(_)) && !as_number;
        let labels = if filters { labels } else { key };
        out.extend(operator.element(labels, value, (value, *partner), as_number));
    }
    Ok(out)
}

fn set_operation(
    name: &str,
    modifier: Option<&BinModifier>,
    left: Vec<(Labels, f64)>,
    right: Vec<(Labels, f64)>,
) -> Vec<(Labels, f64)> {
    let keys = |side: &[(Labels, f64)]| -> Vec<Labels> {
        side.iter().map(|(labels, _)| signature(labels, modifier)).collect()
    };
    let (lefts, rights) = (keys(&left), keys(&right));
    let has = |keys: &[Labels], labels: &Labels| keys.contains(&signature(labels, modifier));
    match name {
        "and" => left.into_iter().filter(|(labels, _)| has(&rights, labels)).collect(),
        "unless" => left.into_iter().filter(|(labels, _)| !has(&rights, labels)).collect(),
        _ => {
            let others = right.into_iter().filter(|(labels, _)| !has(&lefts, labels));
            let others: Vec<_> = others.collect();
            left.into_iter().chain(others).collect()
        }
    }
}

/// The labels by which two sides are matched.
fn signature(labels: &Labels, modifier: Option<&BinModifier>) -> Labels {
    let mut labels = unnamed(labels.clone());
    match modifier.and_then(|modifier| modifier.matching.as_ref()) {
        None => {}
        Some(LabelModifier::Include(on)) => labels.retain(|name, _| on.labels.contains(name)),
        Some(LabelModifier::Exclude(ignoring)) => labels.retain(|name, _| !ignoring.labels.contains(name)),
    }
    labels
}
