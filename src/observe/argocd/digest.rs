//! A digest of an Application's source specification that is the same in `spec` and in the history.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Digests all sources with all their parameters; empty when there are none.
///
/// The history is written by Argo CD from its own types, the specification by people: the one leaves
/// empty fields out (or puts `{}` in for them), the other may hold them. So what is empty does not count.
pub(super) fn source_digest(source: Option<&Value>, sources: &[Value]) -> String {
    let mut text = String::new();
    if sources.is_empty() {
        let Some(source) = source else { return String::new() };
        write(source, false, &mut text);
    } else {
        for source in sources {
            write(source, false, &mut text);
            text.push('\n');
        }
    }
    format!("{:x}", Sha256::digest(text.as_bytes()))
}

/// Writes JSON with sorted keys, without empty fields unless `verbatim`.
fn write(value: &Value, verbatim: bool, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> =
                map.iter().filter(|(key, field)| verbatim || !is_empty(key, field)).collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, field) in fields {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(field, verbatim || key == VERBATIM, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for element in list {
                write(element, verbatim, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

/// Helm values: kept as they are by both sides, and in them `false` and nothing are not the same.
const VERBATIM: &str = "valuesObject";

// Zero is not empty: Argo CD has no number that it leaves out, and `replicas: 0` is meant.
fn is_empty(key: &str, value: &Value) -> bool {
    match value {
        Value::Object(map) if key == VERBATIM => map.is_empty(),
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.iter().all(|(key, field)| is_empty(key, field)),
    }
}
