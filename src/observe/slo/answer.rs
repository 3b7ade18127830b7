//! Prometheus' answer to a query, and the one number in it.

use std::borrow::Cow;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::facts::Gap;

/// Characters of a server's words that are kept.
const WORDS_CHARS_MAX: usize = 300;

/// What every answer of the API looks like.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "D: DeserializeOwned")]
struct Envelope<D> {
    status: String,
    data: Option<D>,
    /// What may be missing from the data; Thanos names the stores here that did not answer. `infos`, which only advise on
    /// the query, are not read.
    warnings: Option<Vec<String>>,
    /// `VictoriaMetrics` says so here when one of its storage nodes did not answer.
    #[serde(default)]
    is_partial: bool,
    error_type: Option<String>,
    error: Option<String>,
}

/// Reads the envelope: what was asked for, or the server's reason for not giving it, or not all of it.
pub(super) fn read<D: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<D, Gap> {
    let envelope = match serde_json::from_slice::<Envelope<D>>(body) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() && status.is_success() => {
            return Err(Gap::ServerError(format!("its answer is not Prometheus' JSON: {error}")));
        }
        // A proxy's page, with whatever status.
        Err(_) => {
            return Err(Gap::ServerError(format!("HTTP {status}, and its answer is not Prometheus' JSON")));
        }
    };
    let Envelope { data, warnings, is_partial, error_type, error, .. } = envelope;
    match data {
        Some(data) if envelope.status == "success" && status.is_success() => {
            // With parts of the data missing any number, and also none, may be wrong.
            match warnings.unwrap_or_default().first() {
                Some(warning) => Err(Gap::Partial(shortened(warning))),
                None if is_partial => Err(Gap::Partial("the server says so".to_owned())),
                None => Ok(data),
            }
        }
        _ => Err(refused(status, &error_type.unwrap_or_default(), &error.unwrap_or_default())),
    }
}

/// The result of a query at one time.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

#[derive(Deserialize)]
struct Series {
    /// Time and value.
    value: Option<(f64, String)>,
}

/// The one finite number that a query gave.
pub(super) fn number(status: StatusCode, body: &[u8]) -> Result<f64, Gap> {
    let data = read::<Data>(status, body)?;
    let sample = match data.result_type.as_str() {
        "scalar" => serde_json::from_value::<(f64, String)>(data.result).ok(),
        "vector" => {
            let series: Vec<Series> = serde_json::from_value(data.result)
                .map_err(|error| Gap::ServerError(format!("a vector that cannot be read: {error}")))?;
            match series.len() {
                0 => return Err(Gap::NoData),
                1 => series.into_iter().next().and_then(|series| series.value),
                n => return Err(Gap::SeveralSeries(n)),
            }
        }
        other => return Err(Gap::QueryRefused(format!("it gives a {}, not a number", shortened(other)))),
    };
    let (_, text) = sample.ok_or_else(histogram)?;
    match text.parse() {
        Ok(value) => finite(value),
        Err(_) => Err(Gap::ServerError(format!("`{}` is not a number", shortened(&text)))),
    }
}

/// A number that can be judged.
pub(super) fn finite(value: f64) -> Result<f64, Gap> {
    if value.is_nan() {
        Err(Gap::NotANumber)
    } else if value.is_infinite() {
        Err(Gap::Infinite)
    } else {
        Ok(value)
    }
}

pub(super) fn histogram() -> Gap {
    let why = "it gives a native histogram, not a number; wrap it in histogram_quantile() or the like";
    Gap::QueryRefused(why.to_owned())
}

/// A number as Prometheus writes it: as text, since JSON has no NaN.
pub(super) struct Number(pub(super) f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            let unexpected = serde::de::Unexpected::Str(&text);
            serde::de::Error::invalid_value(unexpected, &"a number")
        })
    }
}

/// Tells a query that can never work from a server that cannot answer it now.
fn refused(status: StatusCode, error_type: &str, error: &str) -> Gap {
    let words = shortened(error);
    match error_type {
        "bad_data" => Gap::QueryRefused(words),
        "timeout" => Gap::TimedOut,
        _ if words.is_empty() => Gap::ServerError(format!("HTTP {status}")),
        _ => Gap::ServerError(format!("HTTP {status}: {words}")),
    }
}

fn shortened(words: &str) -> String {
    words.chars().take(WORDS_CHARS_MAX).collect()
}
