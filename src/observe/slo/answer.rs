//! Prometheus' answer to a query, and the one number in it.

use std::borrow::Cow;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::Series;
use crate::engine::samples::{Labels, SERIES_MAX};

/// Bytes of one series' labels that are kept.
const LABELS_BYTES_MAX: usize = 1000;

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
struct Row {
    #[serde(default)]
    metric: Labels,
    /// Time and value.
    value: Option<(f64, String)>,
}

impl Row {
    fn number(self) -> Result<f64, Gap> {
        let (_, text) = self.value.ok_or_else(histogram)?;
        text.parse().map_err(|_| Gap::ServerError(format!("`{}` is not a number", shortened(&text))))
    }
}

/// The series that a query gave, each with its finite number or why there is none; or why nothing is known of all of them.
///
/// Without labels where one number is wanted, which several series are not.
pub(super) fn readings(status: StatusCode, body: &[u8], wanted: Series) -> Result<Vec<OfSeries>, Gap> {
    let data = read::<Data>(status, body)?;
    let rows: Vec<Row> = match data.result_type.as_str() {
        "scalar" => {
            let value = serde_json::from_value(data.result).ok();
            vec![Row { metric: Labels::new(), value }]
        }
        "vector" => serde_json::from_value(data.result)
            .map_err(|error| Gap::ServerError(format!("a vector that cannot be read: {error}")))?,
        other => return Err(Gap::QueryRefused(format!("it gives a {}, not a number", shortened(other)))),
    };
    count(rows.len(), wanted)?;
    let series = rows.into_iter().map(|row| {
        Ok((labels(&row.metric, wanted)?, finite(row.number()?).map_or_else(Reading::Gap, Reading::Value)))
    });
    series.collect()
}

/// A series' labels, and what was read of it.
pub type OfSeries = (Labels, Reading);

/// Whether so many series can be judged.
pub(super) fn count(series: usize, wanted: Series) -> Result<(), Gap> {
    match (series, wanted) {
        (0, _) => Err(Gap::NoData),
        (2.., Series::Refuse) => Err(Gap::SeveralSeries(series)),
        (n, Series::Each) if n > SERIES_MAX => Err(Gap::TooManySeries(n)),
        _ => Ok(()),
    }
}

/// The labels that are kept of a series: they stand in the state object.
pub(super) fn labels(metric: &Labels, wanted: Series) -> Result<Labels, Gap> {
    if wanted == Series::Refuse {
        return Ok(Labels::new());
    }
    let bytes: usize = metric.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > LABELS_BYTES_MAX {
        let why = format!(
            "the labels of a series take {bytes} bytes, and at most {LABELS_BYTES_MAX} are kept; aggregate `by (…)` those that matter"
        );
        return Err(Gap::QueryRefused(why));
    }
    Ok(metric.clone())
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
