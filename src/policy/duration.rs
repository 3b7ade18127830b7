//! Durations as people write them: `30s`, `5m`, `1h 30m`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration with its unit, for example `30s`, `5m` or `1h 30m`.
///
/// It is read through a string and not by a `deserialize_with` function, so that a mistake is reported at the value and not
/// at its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl TryFrom<String> for Span {
    /// The message and, on a second line, what to do.
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim();
        if text.parse::<f64>().is_ok() {
            return Err(format!(
                "`{text}` has no unit\nwrite `{text}s` for seconds, `{text}m` for minutes or `{text}h` for hours"
            ));
        }
        humantime::parse_duration(text).map(Self).map_err(|error| {
            let error = error.to_string();
            // The library lists every unit down to nanoseconds and up to years.
            let why = error.split(", supported units").next().unwrap_or(&error);
            format!("`{text}` is not a duration: {why}\nwrite it like `30s`, `5m` or `1h 30m`")
        })
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}
