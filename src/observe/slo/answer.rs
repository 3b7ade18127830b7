//! Prometheus' answer to an instant query, and the one number in it.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::engine::facts::Gap;

/// Characters of a server's words that are kept.
const WORDS_CHARS_MAX: usize = 300;

/// The result of a query, and what the server said about it.
pub(super) struct Answer {
    data: Data,
    warnings: Vec<String>,
}

/// What every answer of the API looks like.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    data: Option<Data>,
    warnings: Option<Vec<String>>,
    error_type: Option<String>,
    error: Option<String>,
}

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

impl Answer {
    /// Reads the envelope: an answer, or the server's reason for giving none.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Self, Gap> {
        let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
            // A proxy's page, with whatever status.
            return Err(Gap::ServerError(format!("HTTP {status}, and its answer is not Prometheus' JSON")));
        };
        match envelope.data {
            Some(data) if envelope.status == "success" && status.is_success() => {
                Ok(Self { data, warnings: envelope.warnings.unwrap_or_default() })
            }
            _ => Err(refused(
                status,
                &envelope.error_type.unwrap_or_default(),
                &envelope.error.unwrap_or_default(),
            )),
        }
    }

    /// The one finite number.
    pub(super) fn number(self) -> Result<f64, Gap> {
        // Comes first: with parts of the data missing any number, and also none, may be wrong.
        if let Some(warning) = self.warnings.first() {
            return Err(Gap::Partial(shortened(warning)));
        }
        let sample = match self.data.result_type.as_str() {
            "scalar" => serde_json::from_value::<(f64, String)>(self.data.result).ok(),
            "vector" => {
                let series: Vec<Series> = serde_json::from_value(self.data.result)
                    .map_err(|error| Gap::ServerError(format!("a vector that cannot be read: {error}")))?;
                match series.len() {
                    0 => return Err(Gap::NoData),
                    1 => series.into_iter().next().and_then(|series| series.value),
                    n => return Err(Gap::SeveralSeries(n)),
                }
            }
            other => return Err(Gap::QueryRefused(format!("it gives a {}, not a number", shortened(other)))),
        };
        let Some((_, text)) = sample else {
            return Err(Gap::QueryRefused(
                "it gives a native histogram, not a number; wrap it in histogram_quantile() or the like"
                    .into(),
            ));
        };
        finite(&text)
    }
}

fn finite(text: &str) -> Result<f64, Gap> {
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Err(Gap::NotANumber),
        Ok(value) if value.is_infinite() => Err(Gap::Infinite),
        Ok(value) => Ok(value),
        Err(_) => Err(Gap::ServerError(format!("`{}` is not a number", shortened(text)))),
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
