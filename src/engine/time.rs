//! Times and durations: plain arithmetic that never overflows, and a form for people.

use std::time::Duration;

use jiff::Timestamp;

/// The time from `then` to `now`; zero where clocks disagree.
pub fn elapsed(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// `at` plus `duration`; the end of time where that is not representable.
pub fn later(at: Timestamp, duration: Duration) -> Timestamp {
    at.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// `at` minus `duration`; the beginning of time where that is not representable.
pub fn earlier(at: Timestamp, duration: Duration) -> Timestamp {
    at.saturating_sub(duration).unwrap_or(Timestamp::MIN)
}

/// A duration for people.
///
/// Whole seconds, since that is what Argo CD's times have.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, 0, _) => format!("{h}h"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

/// Durations as they are written in states and records: a number of seconds.
///
/// Earlier versions wrote seconds and nanoseconds apart; that is read too.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read {
        Seconds(f64),
        Parts(Duration),
    }

    impl Read {
        fn duration<E: serde::de::Error>(self) -> Result<Duration, E> {
            match self {
                Self::Seconds(seconds) => Duration::try_from_secs_f64(seconds).map_err(E::custom),
                Self::Parts(duration) => Ok(duration),
            }
        }
    }

    /// Writes one.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        // Whole seconds without a point, as people write them.
        match duration.subsec_nanos() {
            0 => to.serialize_u64(duration.as_secs()),
            _ => to.serialize_f64(duration.as_secs_f64()),
        }
    }

    /// Reads one.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Read::deserialize(from)?.duration()
    }

    /// One that may be missing.
    pub mod option {
        use super::{Deserialize as _, Deserializer, Duration, Read, Serializer};

        /// Writes it.
        pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
            match duration {
                Some(duration) => super::serialize(duration, to),
                None => to.serialize_none(),
            }
        }

        /// Reads it.
        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
            Option::<Read>::deserialize(from)?.map(Read::duration).transpose()
        }
    }

    /// Several.
    pub mod list {
        use super::{Deserialize as _, Deserializer, Duration, Read, Serializer};

        /// Writes them.
        pub fn serialize<S: Serializer>(durations: &[Duration], to: S) -> Result<S::Ok, S::Error> {
            to.collect_seq(durations.iter().map(Duration::as_secs_f64))
        }

        /// Reads them.
        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
            Vec::<Read>::deserialize(from)?.into_iter().map(Read::duration).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Several {
        #[serde(with = "super::seconds")]
        one: Duration,
        #[serde(with = "super::seconds::option")]
        maybe: Option<Duration>,
        #[serde(with = "super::seconds::list")]
        list: Vec<Duration>,
    }

    #[test]
    fn durations_are_seconds_and_read_again_to_the_nanosecond() {
        let nanos = Duration::from_nanos;
        let several = Several {
            one: nanos(86_399_999_999_999),
            maybe: None,
            list: vec![nanos(1), nanos(1_500_000_000)],
        };
        let written = serde_json::to_string(&several).unwrap();
        assert_eq!(written, r#"{"one":86399.999999999,"maybe":null,"list":[1e-9,1.5]}"#);
        assert_eq!(serde_json::from_str::<Several>(&written).unwrap(), several);
        let read = |text: &str| serde_json::from_str::<Several>(text).map_err(|_| ());
        let whole = Several { one: nanos(0), maybe: Some(Duration::from_secs(300)), list: vec![] };
        assert_eq!(serde_json::to_string(&whole).unwrap(), r#"{"one":0,"maybe":300,"list":[]}"#);
        // As an earlier version wrote them.
        let parts = r#"{"one":{"secs":0,"nanos":0},"maybe":{"secs":300,"nanos":0},"list":[]}"#;
        assert_eq!(read(parts), Ok(whole));
        for wrong in [r#"{"one":-1,"maybe":null,"list":[]}"#, r#"{"one":1e99,"maybe":null,"list":[]}"#] {
            assert_eq!(read(wrong), Err(()), "{wrong}");
        }
    }
}
