//! Reads YAML that somebody pushed, tolerantly: what is not understood counts as absent.

use serde_json::Value;

/// Events of a document; a file of the largest size that is read has fewer unless aliases multiply them.
const EVENTS_MAX: usize = 200_000;

/// Characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 200;

/// The documents of a file, or why it cannot be read.
pub(super) fn documents(content: &[u8]) -> Result<Vec<Value>, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8".to_owned())?;
    let options = serde_saphyr::options! {
        with_snippet: false,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        budget: serde_saphyr::budget! {
            max_events: EVENTS_MAX,
            max_nodes: EVENTS_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: EVENTS_MAX,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        error.to_string().lines().next().unwrap_or_default().chars().take(ERROR_CHARS_MAX).collect()
    })
}

/// The text in a field.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// The elements of a list in a field.
pub(super) fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// The texts of a list in a field.
pub(super) fn texts<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    list(value, field).filter_map(Value::as_str).filter(|text| !text.is_empty())
}
