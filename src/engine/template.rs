//! `PromQL` with placeholders: `{{ application }}`, `{{ namespace }}`, `{{ revision }}` and the policy's own variables, and
//! `[{{ window }}]`, which a rule of several windows fills in.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The names that are always there.
pub const BUILT_IN: [&str; 3] = ["application", "namespace", "revision"];

/// The placeholder of a time range.
pub const WINDOW: &str = "window";

/// A parsed query template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
    Window,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` without a closing `}}}}`")]
    Unclosed,
    /// A placeholder that is not one plain name.
    #[error("`{{{{ {0} }}}}` is not a variable name: use letters, digits and `_`")]
    BadName(String),
    /// A time range outside of square brackets.
    #[error("`{{{{ window }}}}` must stand inside `[…]`")]
    NoRange,
    /// A placeholder outside of a quoted string, where a value could change the query's meaning.
    #[error("`{{{{ {0} }}}}` must stand inside a quoted string")]
    NotQuoted(String),
}

impl Template {
    /// Parses the text of a query.
    ///
    /// Placeholders may stand only inside a double- or single-quoted `PromQL` string, so that no value, however
    /// strange, can become anything but part of that string; the window, which is always a duration, inside `[…]` only.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut quote: Option<char> = None;
        let mut escaped = false;
        let mut comment = false;
        let mut range = false;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if !comment && let Some(inner) = rest.strip_prefix("{{") {
                let (name, after) = inner.split_once("}}").ok_or(TemplateError::Unclosed)?;
                let name = name.trim();
                if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(TemplateError::BadName(name.to_owned()));
                }
                let part = match quote {
                    Some('"' | '\'') => Part::Name(name.to_owned()),
                    None if range && name == WINDOW => Part::Window,
                    None if name == WINDOW => return Err(TemplateError::NoRange),
                    _ => return Err(TemplateError::NotQuoted(name.to_owned())),
                };
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(part);
                escaped = false;
                rest = after;
                continue;
            }
            match (quote, c) {
                _ if comment => comment = c != '\n',
                (None, '#') => comment = true,
                (None, '"' | '\'' | '`') => quote = Some(c),
                (Some('`'), _) => quote = quote.filter(|_| c != '`'),
                (Some(_), _) if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(q), _) if q == c => quote = None,
                (None, '[' | ']') => range = c == '[',
                (None | Some(_), _) => {}
            }
            plain.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
        parts.push(Part::Text(plain));
        Ok(Self { parts })
    }

    /// The placeholders' names, in order of appearance.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) | Part::Window => None,
        })
    }

    /// Whether a time range is to be filled in.
    pub fn has_window(&self) -> bool {
        self.parts.contains(&Part::Window)
    }

    /// Fills the placeholders in; a name without a value is given back as the error.
    pub fn render(&self, values: &BTreeMap<&str, &str>, window: Option<Duration>) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Name(name) => match values.get(name.as_str()) {
                    Some(value) => escape(value, &mut out),
                    None => return Err(name.clone()),
                },
                Part::Window => match window {
                    Some(window) => out.push_str(&duration(window)),
                    None => return Err(WINDOW.to_owned()),
                },
            }
        }
        Ok(out)
    }
}

/// A text that gives the same template.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Name(name) => write!(f, "{{{{ {name} }}}}")?,
                Part::Window => write!(f, "{{{{ {WINDOW} }}}}")?,
            }
        }
        Ok(())
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.to_string()
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

/// A duration as `PromQL` writes it.
fn duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// Escapes a value for a quoted `PromQL` string (Go's escapes, as Prometheus documents under "String literals").
fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            // `\"` is legal only in double quotes and `\'` only in single ones, so code points are written.
            '"' => out.push_str("\\x22"),
            '\'' => out.push_str("\\x27"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, value: &str, expected: &str) {
        let values = BTreeMap::from([("application", value)]);
        let got = Template::parse(template).map_err(|e| e.to_string()).and_then(|t| t.render(&values, None));
        assert_eq!(got.unwrap_or_else(|e| format!("error: {e}")), expected, "{template} with {value}");
    }

    #[test]
    fn fills_in_and_escapes() {
        check(r#"up{app="{{ application }}"}"#, "shop", r#"up{app="shop"}"#);
        check(
            r#"up{app="{{application}}-x"}"#,
            r#"a"} or vector(1) #"#,
            r#"up{app="a\x22} or vector(1) #-x"}"#,
        );
        check(r#"up{app='{{ application }}'}"#, "it's", r"up{app='it\x27s'}");
        check(r#"up{app="{{ application }}"}"#, "a\\b\nc", r#"up{app="a\\b\nc"}"#);
        check("up # {{ not a placeholder\n", "x", "up # {{ not a placeholder\n");
    }

    #[test]
    fn a_template_is_written_as_a_text_that_gives_it_again() {
        for text in [r#"rate(up{app="{{application}}",b='\\'}[{{ window }}])"#, "up # {{ no placeholder\n"] {
            let template = Template::parse(text).unwrap();
            let written = serde_json::to_string(&template).unwrap();
            assert_eq!(serde_json::from_str::<Template>(&written).unwrap(), template, "{written}");
        }
    }

    #[test]
    fn a_window_stands_in_brackets() {
        let check = |template: &str, window: u64, expected: &str| {
            let parsed = Template::parse(template).map_err(|e| e.to_string());
            let got = parsed.and_then(|t| t.render(&BTreeMap::new(), Some(Duration::from_millis(window))));
            assert_eq!(got.unwrap_or_else(|e| format!("error: {e}")), expected, "{template}");
        };
        check("rate(x[{{ window }}])", 300_000, "rate(x[300s])");
        check("rate(x[{{window}}:15s])", 1500, "rate(x[1500ms:15s])");
        let no_range = "error: `{{ window }}` must stand inside `[…]`";
        check("rate(x[5m]) * {{ window }}", 1000, no_range);
        check("{{ window }}", 1000, no_range);
        check("x[{{ application }}]", 1000, "error: `{{ application }}` must stand inside a quoted string");
        // In a string it is a name like others.
        check(r#"up{a="[{{ window }}]"}"#, 1000, "error: window");
    }

    #[test]
    fn refuses_what_could_break_out() {
        check("{{ application }}", "x", "error: `{{ application }}` must stand inside a quoted string");
        check(
            "up{a=`{{ application }}`}",
            "x",
            "error: `{{ application }}` must stand inside a quoted string",
        );
        check(
            r#"up{a="\"", b={{ application }}}"#,
            "x",
            "error: `{{ application }}` must stand inside a quoted string",
        );
        check(r#"up{a="{{ application "}"#, "x", "error: `{{` without a closing `}}`");
        check(
            r#"up{a="{{ a b }}"}"#,
            "x",
            "error: `{{ a b }}` is not a variable name: use letters, digits and `_`",
        );
        check(r#"up{a="{{ team }}"}"#, "x", "error: team");
    }
}
