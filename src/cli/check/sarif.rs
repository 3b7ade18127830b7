//! The Static Analysis Results Interchange Format, version 2.1.0 (OASIS), as far as code scanning reads it.

use serde_json::{Value, json};

use crate::policy::Mistake;
use crate::policy::code::Code;
use crate::policy::mistake::Place;

/// A log with one run: every rule, and a result for each mistake.
pub(super) fn log(found: &[Mistake]) -> Value {
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "lastgood",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": Code::ALL.iter().copied().map(rule).collect::<Vec<_>>(),
            }},
            // Columns count characters and not what UTF-16 makes of them.
            "columnKind": "unicodeCodePoints",
            "results": found.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn rule(code: Code) -> Value {
    let about = json!({ "text": code.about() });
    json!({
        "id": code.word(),
        "shortDescription": about,
        "fullDescription": about,
        "help": { "text": "Each result says what to write instead." },
        "defaultConfiguration": { "level": code.level() },
    })
}

fn result(mistake: &Mistake) -> Value {
    let help = mistake.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    let artifact = json!({ "uri": uri(&mistake.file) });
    let location = match &mistake.place {
        Some(place) => json!({ "artifactLocation": artifact, "region": region(place) }),
        None => json!({ "artifactLocation": artifact }),
    };
    json!({
        "ruleId": mistake.code.word(),
        "ruleIndex": Code::ALL.iter().position(|code| *code == mistake.code),
        "level": mistake.code.level(),
        "message": { "text": format!("{}{help}", mistake.message) },
        "locations": [{ "physicalLocation": location }],
    })
}

/// The end is the column after the last.
fn region(place: &Place) -> Value {
    json!({
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.line,
        "endColumn": place.column + place.width,
    })
}

/// The file as a URI: relative to where the check was run, unless it was named from the root.
fn uri(file: &str) -> String {
    let mut uri = String::from(if file.starts_with('/') { "file://" } else { "" });
    for byte in file.strip_prefix("./").unwrap_or(file).bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => uri.push(byte.into()),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_uris() {
        let check = |file, expected| assert_eq!(uri(file), expected);
        check("./policies/a b.yaml", "policies/a%20b.yaml");
        check("/work/ü#.yaml", "file:///work/%C3%BC%23.yaml");
        check("../x:y.yml", "../x%3Ay.yml");
    }
}
