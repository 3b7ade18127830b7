//! Shares as people write them: `25%`, or `0.25`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A share of a whole, `25%` or `0.25`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded where the factor of a hundred made digits that nobody wrote.
        let percent = (self.0 * 1e12).round() / 1e10;
        write!(f, "{percent}%")
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShareVisitor)
    }
}

struct ShareVisitor;

impl Visitor<'_> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share such as `25%` or `0.25`")
    }

    fn visit_f64<E: Error>(self, share: f64) -> Result<Share, E> {
        Ok(Share(share))
    }

    fn visit_u64<E: Error>(self, share: u64) -> Result<Share, E> {
        u32::try_from(share).map(|share| Share(f64::from(share))).map_err(|_| wrong(&share.to_string()))
    }

    fn visit_i64<E: Error>(self, share: i64) -> Result<Share, E> {
        i32::try_from(share).map(|share| Share(f64::from(share))).map_err(|_| wrong(&share.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Share, E> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|share| share.is_finite());
        let share = match text.trim().strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| percent / 100.0),
            None => number(text),
        };
        share.map(Share).ok_or_else(|| wrong(text))
    }
}

fn wrong<E: Error>(text: &str) -> E {
    E::custom(format!("`{text}` is not a share\nwrite it like `25%` or `0.25`"))
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "string"],
            "pattern": "^ *[0-9]*[.]?[0-9]+ *%? *$",
            "examples": ["25%", 0.25],
        })
    }
}
