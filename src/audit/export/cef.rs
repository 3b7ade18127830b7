//! The Common Event Format (CEF), version 0, by the implementation standard of `ArcSight`.

use super::Placed;

/// The longest text of `msg` in the format's dictionary, in characters.
const MESSAGE_CHARS_MAX: usize = 1023;
/// The same for `cs1` to `cs6`.
const CUSTOM_CHARS_MAX: usize = 4000;

/// Severities go from 0 to 10: what a person should see is a middle one, and the rest a low one.
const SEVERITY_WARNING: u8 = 6;
const SEVERITY_QUIET: u8 = 2;

/// A record as one event, without a syslog prefix.
pub(super) fn line(placed: &Placed) -> String {
    let record = &placed.record;
    let severity = if record.warning { SEVERITY_WARNING } else { SEVERITY_QUIET };
    let mut out = format!(
        "CEF:0|lastgood|lastgood|{}|{}|{}|{severity}|",
        header(&record.by.version),
        header(&record.reason),
        header(&words(&record.reason))
    );
    let app = record.application.as_ref();
    let destination = app.and_then(|app| app.destination.as_ref());
    let destination = destination.map(|to| format!("{}/{}", to.cluster, to.namespace));
    let custom = [
        ("application", Some(placed.application())),
        ("cluster", Some(record.cluster.clone())),
        ("rollback", record.rollback.clone()),
        ("policy", record.policy.as_ref().map(|policy| policy.name.clone())),
        ("destination", destination),
        ("recordHash", Some(placed.hash.to_string())),
    ];
    let mut pairs = vec![
        ("rt".to_owned(), record.at.as_millisecond().to_string()),
        ("externalId".to_owned(), record.id.clone()),
        ("msg".to_owned(), cut(&record.sentence, MESSAGE_CHARS_MAX)),
        ("act".to_owned(), record.reason.clone()),
    ];
    pairs.extend(record.by.pod.clone().map(|pod| ("deviceExternalId".to_owned(), pod)));
    for (number, (label, value)) in (1..).zip(custom) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            pairs.push((format!("cs{number}Label"), label.to_owned()));
            pairs.push((format!("cs{number}"), cut(&value, CUSTOM_CHARS_MAX)));
        }
    }
    pairs.push(("cn1Label".to_owned(), "sequence".to_owned()));
    pairs.push(("cn1".to_owned(), placed.sequence.to_string()));
    let pairs: Vec<String> = pairs.iter().map(|(key, text)| format!("{key}={}", value(text))).collect();
    out += &pairs.join(" ");
    out
}

/// `RevertPushed` as people write it.
fn words(reason: &str) -> String {
    let mut words = String::new();
    for (i, c) in reason.char_indices() {
        if i > 0 && c.is_uppercase() {
            words.push(' ');
            words.extend(c.to_lowercase());
        } else {
            words.push(c);
        }
    }
    words
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

/// A field of the header: it ends at `|`, and may have no line break at all.
fn header(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.replace('\\', "\\\\").replace('|', "\\|")
}

/// A value of the extension: `=` would begin another one.
fn value(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('=', "\\=").replace('\r', "\\r").replace('\n', "\\n");
    escaped.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
