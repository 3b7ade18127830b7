//! Mistakes and warnings in SARIF.

use serde_json::{Value, json};

use crate::cli::sarif;
use crate::policy::Mistake;
use crate::policy::code::Code;
use crate::policy::mistake::Place;

/// A log with one run: every rule, and a result for each mistake.
pub(super) fn log(found: &[Mistake]) -> Value {
    let rules: Vec<_> = Code::ALL.iter().copied().map(rule).collect();
    let results: Vec<_> = found.iter().map(result).collect();
    let mut log = sarif::log(&rules, &results);
    if let Some(Value::Object(run)) = log.pointer_mut("/runs/0") {
        // Columns count characters and not what UTF-16 makes of them.
        run.insert("columnKind".to_owned(), "unicodeCodePoints".into());
    }
    log
}

fn rule(code: Code) -> Value {
    sarif::rule(code.word(), code.about(), "Each result says what to write instead.", code.level())
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
