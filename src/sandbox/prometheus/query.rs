//! The two methods of Prometheus' API that evaluate a query: at one time, and over a range in steps.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use axum::extract::Query;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use promql_parser::parser::Expr;
use promql_parser::parser::value::ValueType;
use serde_json::{Value, json};

use super::Metrics;
use super::eval::{Answer, evaluate};
use super::series::{Labels, seconds};

/// Steps of one range that Prometheus evaluates.
const STEPS_MAX: f64 = 11_000.0;

pub(super) type Parameters = BTreeMap<String, String>;
pub(super) type Refusal = (StatusCode, &'static str, String);

fn bad(why: String) -> Refusal {
    (StatusCode::BAD_REQUEST, "bad_data", why)
}

fn invalid(parameter: &str, why: impl std::fmt::Display) -> Refusal {
    bad(format!("invalid parameter \"{parameter}\": {why}"))
}

/// Reads a form.
pub(super) fn parameters(form: &str) -> Result<Parameters, Refusal> {
    let uri: Uri = format!("/?{form}").parse().map_err(|error| bad(format!("unreadable form: {error}")))?;
    let Query(parameters) =
        Query::try_from_uri(&uri).map_err(|error| bad(format!("unreadable form: {error}")))?;
    Ok(parameters)
}

/// Evaluates a query at one time.
pub(super) fn instant(metrics: &Metrics, parameters: &Parameters) -> Result<Value, Refusal> {
    let at = match parameters.get("time").filter(|time| !time.is_empty()) {
        None => seconds(metrics.clock.now()),
        Some(_) => moment(parameters, "time")?,
    };
    let expr = expression(parameters)?;
    let value = |value: f64| json!([at, number(value)]);
    Ok(match evaluated(metrics, &expr, at)? {
        Answer::Scalar(scalar) => json!({"resultType": "scalar", "result": value(scalar)}),
        Answer::Vector(vector) => {
            let element = |(metric, number): (Labels, f64)| json!({"metric": metric, "value": value(number)});
            json!({"resultType": "vector", "result": vector.into_iter().map(element).collect::<Vec<_>>()})
        }
    })
}

/// Evaluates a query at each step of a range: a series has no value where it has none, and is left out where it never has.
pub(super) fn range(metrics: &Metrics, parameters: &Parameters) -> Result<Value, Refusal> {
    let (start, end) = (moment(parameters, "start")?, moment(parameters, "end")?);
    if end < start {
        return Err(invalid("end", "end timestamp must not be before start time"));
    }
    let step = parameters.get("step").map(String::as_str).unwrap_or_default();
    let step = step
        .parse()
        .ok()
        .or_else(|| Some(promql_parser::util::parse_duration(step).ok()?.as_secs_f64()))
        .filter(|step: &f64| step.is_finite())
        .ok_or_else(|| invalid("step", format!("cannot parse \"{step}\" to a valid duration")))?;
    if step <= 0.0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(invalid("step", why));
    }
    if (end - start) / step > STEPS_MAX {
        let why = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
        return Err(bad(why.to_owned()));
    }
    let expr = expression(parameters)?;
    let kind = expr.value_type();
    if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
        let why = format!(
            "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
            words(kind)
        );
        return Err(bad(why));
    }
    let mut rows: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
    let steps = (0_u32..).map(|n| start + f64::from(n) * step).take_while(|at| *at <= end);
    for at in steps {
        // Times have milliseconds.
        let at = (at * 1000.0).round() / 1000.0;
        let vector = match evaluated(metrics, &expr, at)? {
            Answer::Scalar(scalar) => vec![(Labels::new(), scalar)],
            Answer::Vector(vector) => vector,
        };
        for (labels, value) in vector {
            rows.entry(labels).or_default().push(json!([at, number(value)]));
        }
    }
    let rows = rows.into_iter().map(|(metric, values)| json!({"metric": metric, "values": values}));
    Ok(json!({"resultType": "matrix", "result": rows.collect::<Vec<_>>()}))
}

fn words(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Vector => "instant vector",
        ValueType::Scalar => "scalar",
        ValueType::Matrix => "range vector",
        ValueType::String => "string",
    }
}

fn expression(parameters: &Parameters) -> Result<Expr, Refusal> {
    let text = parameters.get("query").map(String::as_str).unwrap_or_default();
    promql_parser::parser::parse(text).map_err(|error| invalid("query", error))
}

fn evaluated(metrics: &Metrics, expr: &Expr, at: f64) -> Result<Answer, Refusal> {
    let database = metrics.database.lock().unwrap_or_else(PoisonError::into_inner);
    evaluate(&database, expr, at).map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, "execution", error.0))
}

/// Reads seconds since 1970 or RFC 3339.
fn moment(parameters: &Parameters, parameter: &str) -> Result<f64, Refusal> {
    let text = parameters.get(parameter).map(String::as_str).unwrap_or_default();
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number
        .or_else(|| text.parse::<Timestamp>().ok().map(seconds))
        .ok_or_else(|| invalid(parameter, format!("cannot parse \"{text}\" to a valid timestamp")))
}

/// Writes a number as Prometheus does.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}
