//! Label and field selectors.

use serde_json::Value;

use super::error::ApiError;
use crate::sandbox::json::{at, text};

/// Which objects a list or a watch wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
enum Term {
    Label { name: String, value: String, equal: bool },
    Exists { name: String, wanted: bool },
    Field { pointer: String, value: String, equal: bool },
}

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`; sets (`in`, `notin`) are refused by name.
    pub(crate) fn parse(labels: &str, fields: &str) -> Result<Self, ApiError> {
        let mut terms = Vec::new();
        for term in split(labels) {
            if term.contains('(') || term.contains(')') {
                return Err(ApiError::bad_request(format!(
                    "the sandbox has no set-based label selectors: `{labels}`"
                )));
            }
            let exists = || Term::Exists {
                name: term.trim_start_matches('!').trim().to_owned(),
                wanted: !term.starts_with('!'),
            };
            let equality = equality(term).map(|(name, value, equal)| Term::Label { name, value, equal });
            terms.push(equality.unwrap_or_else(exists));
        }
        for term in split(fields) {
            let Some((name, value, equal)) = equality(term) else {
                return Err(ApiError::bad_request(format!("invalid field selector: `{term}`")));
            };
            let known = ["metadata.name", "metadata.namespace", "spec.nodeName", "status.phase"];
            if !known.contains(&name.as_str()) {
                return Err(ApiError::bad_request(format!("field label not supported: {name}")));
            }
            terms.push(Term::Field { pointer: format!("/{}", name.replace('.', "/")), value, equal });
        }
        Ok(Self { terms })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let label = |name: &str| at(object, "/metadata/labels").and_then(|labels| labels.get(name)?.as_str());
        self.terms.iter().all(|term| match term {
            Term::Label { name, value, equal } => (label(name) == Some(value)) == *equal,
            Term::Exists { name, wanted } => label(name).is_some() == *wanted,
            Term::Field { pointer, value, equal } => (text(object, pointer) == value) == *equal,
        })
    }
}

fn split(selector: &str) -> impl Iterator<Item = &str> {
    selector.split(',').map(str::trim).filter(|term| !term.is_empty())
}

fn equality(term: &str) -> Option<(String, String, bool)> {
    let (name, value, equal) = if let Some((name, value)) = term.split_once("!=") {
        (name, value, false)
    } else {
        let (name, value) = term.split_once("==").or_else(|| term.split_once('='))?;
        (name, value, true)
    };
    Some((name.trim().to_owned(), value.trim().to_owned(), equal))
}
