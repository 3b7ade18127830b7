//! The Static Analysis Results Interchange Format, version 2.1.0 (OASIS), as far as code scanning reads it.

use serde::Serialize;
use serde_json::{Value, json};

/// A log with one run of this program: every rule, and what it found.
pub(super) fn log(rules: &[Value], results: &[Value]) -> Value {
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "lastgood",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

/// A rule: its word, what it stands for, what to do, and how grave it is.
pub(super) fn rule(word: &str, about: &str, help: &str, level: impl Serialize) -> Value {
    let about = json!({ "text": about });
    json!({
        "id": word,
        "shortDescription": about,
        "fullDescription": about,
        "help": { "text": help },
        "defaultConfiguration": { "level": level },
    })
}
