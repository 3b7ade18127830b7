//! Where the limits go: into a policy that there is, or into a new one.

use std::time::Duration;

use crate::policy::file::{Metrics, PresetKind};
use crate::policy::{Limit, SourceFile, with_limits};

/// The latency that a draft is tried with: its limit in the metrics' own unit tells what a second is there.
const TRIED_LATENCY: Duration = Duration::from_secs(1);

/// The share of errors that a draft is tried with, and that stays where nothing better is found.
pub(super) const TRIED_ERRORS: &str = "0.05";

/// The name of a policy's application where nobody gave one.
const UNNAMED: &str = "my-application";

/// The policy whose limits are chosen.
pub(super) enum Origin {
    /// One that there is.
    File(SourceFile),
    /// One that is made now.
    Draft(Draft),
}

impl Origin {
    /// Its text as it is before.
    pub(super) fn file(&self) -> SourceFile {
        match self {
            Self::File(file) => file.clone(),
            Self::Draft(draft) => draft.file(),
        }
    }

    /// Its text with these limits, and those that do not stand in it.
    pub(super) fn with<'a>(&self, limits: &'a [Limit]) -> (SourceFile, Vec<&'a Limit>) {
        match self {
            Self::File(file) => {
                let (text, missing) = with_limits(file, limits);
                (SourceFile { name: file.name.clone(), bytes: text.into_bytes() }, missing)
            }
            Self::Draft(draft) => {
                let mut draft = draft.clone();
                for limit in limits {
                    match limit.field {
                        MAX_ERRORS => draft.max_errors = Some(limit.value.clone()),
                        _ => draft.max_latency = Some(limit.value.clone()),
                    }
                }
                (draft.file(), Vec::new())
            }
        }
    }
}

/// The fields of a preset that are limits.
pub(super) const MAX_ERRORS: &str = "maxErrors";
pub(super) const MAX_LATENCY: &str = "maxLatency";

/// A policy that stands on a preset.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Which Application it is for.
    pub(super) application: Option<String>,
    /// The Prometheus.
    pub(super) url: String,
    /// What the application is.
    pub(super) kind: PresetKind,
    /// Who measures it.
    pub(super) metrics: Metrics,
    /// Which series are its own, where that is not what the preset says.
    pub(super) selector: Option<String>,
    /// The window of the queries.
    pub(super) window: &'static str,
    /// Limits as they are written; without one latency is not judged.
    pub(super) max_errors: Option<String>,
    pub(super) max_latency: Option<String>,
    /// What was found and what was not, for people.
    pub(super) told: Vec<String>,
}

impl Draft {
    /// The same with a latency to try.
    pub(super) fn with_latency(self) -> Self {
        Self { max_latency: Some(duration(TRIED_LATENCY.as_secs_f64())), ..self }
    }

    /// The policy file.
    pub(super) fn file(&self) -> SourceFile {
        let name = self.application.as_deref().unwrap_or(UNNAMED);
        let note = if self.application.is_none() { " # the name of the Application in Argo CD" } else { "" };
        let mut text = format!(
            "apiVersion: lastgood.dev/v1alpha1\napplication:\n  name: {}{note}\nprometheus:\n  url: {}\npreset:\n  kind: {}\n  metrics: {}\n",
            quoted(name),
            quoted(&self.url),
            String::from(self.kind),
            String::from(self.metrics),
        );
        let selector = self.selector.as_deref().map(quoted);
        let window = (self.window != super::found::WINDOWS[0]).then(|| self.window.to_owned());
        let fields = [
            ("selector", &selector),
            ("window", &window),
            (MAX_ERRORS, &self.max_errors),
            (MAX_LATENCY, &self.max_latency),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                text += &format!("  {field}: {value}\n");
            }
        }
        text += "rollback:\n  mode: dry-run\n";
        SourceFile { name: format!("{}.yaml", name.replace('/', "-")), bytes: text.into_bytes() }
    }

    /// How a limit of the preset's queries is written: the field, and the value; none where it makes no sense.
    ///
    /// `tried` is the limit that the draft has now.
    pub(super) fn written(slo: &str, limit: f64, tried: f64) -> Option<(&'static str, String)> {
        if slo == crate::policy::preset::ERRORS {
            return (limit > 0.0 && limit < 1.0).then(|| (MAX_ERRORS, limit.to_string()));
        }
        let seconds = limit / tried * TRIED_LATENCY.as_secs_f64();
        (seconds > 0.0).then(|| (MAX_LATENCY, duration(seconds)))
    }
}

/// Seconds as a policy has them, in whole milliseconds, rounded up.
fn duration(seconds: f64) -> String {
    let milliseconds = (seconds * 1000.0 - 1e-6).ceil().max(1.0);
    let whole = (milliseconds / 1000.0).round();
    if (milliseconds - 1000.0 * whole).abs() < 0.5 {
        format!("{whole}s")
    } else {
        format!("{milliseconds}ms")
    }
}

/// A text as YAML has it, whatever it holds.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let word =
        ["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if begins && !word && !text.ends_with(':') && text.chars().all(plain) {
        text.to_owned()
    } else {
        // YAML takes JSON's strings.
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_to_milliseconds() {
        let shown = [0.84, 1.6, 2.0, 0.000_01, 0.1 + 0.2, 0.0301].map(duration);
        assert_eq!(shown, ["840ms", "1600ms", "2s", "1ms", "300ms", "31ms"]);
    }

    #[test]
    fn what_yaml_would_misread_is_quoted() {
        let shown = ["shop", "http://p:9090", "8", "no", r#"a="b""#, "x: y", ""].map(quoted);
        assert_eq!(shown, ["shop", "http://p:9090", "\"8\"", "\"no\"", r#""a=\"b\"""#, "\"x: y\"", "\"\""]);
    }
}
