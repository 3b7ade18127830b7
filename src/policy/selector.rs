//! Which applications a policy is for.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};

use crate::engine::facts::ApplicationFacts;

/// Which applications a policy is for: those that everything given here matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The Application's name.
    pub name: Option<Pattern>,
    /// The Application's own namespace.
    pub namespace: Option<Pattern>,
    /// The Application's `AppProject`.
    pub project: Option<Pattern>,
    /// Labels that the Application must have.
    pub labels: BTreeMap<String, String>,
}

impl Selector {
    /// Whether the application is one of those selected.
    pub fn matches(&self, facts: &ApplicationFacts) -> bool {
        let is = |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_none_or(|p| p.matches(text));
        is(&self.name, &facts.app.name)
            && is(&self.namespace, &facts.app.namespace)
            && is(&self.project, &facts.project)
            && self.labels.iter().all(|(key, value)| facts.labels.get(key) == Some(value))
    }

    /// Whether it names one application instead of describing many.
    pub fn is_exact(&self) -> bool {
        matches!(self.name, Some(Pattern::Exact(_)))
    }
}

/// A name or a glob (`*`, `?`, `[a-z]`, `{a,b}`).
#[derive(Clone, Debug)]
pub enum Pattern {
    /// This text and no other.
    Exact(String),
    /// Whatever the glob matches.
    Glob(GlobMatcher),
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with the glob.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains(['*', '?', '[', ']', '{', '}']) {
            return Ok(Self::Exact(text.to_owned()));
        }
        // Names of Kubernetes objects hold no backslash, so it may stand for itself.
        let glob = GlobBuilder::new(text).backslash_escape(false).build();
        glob.map(|glob| Self::Glob(glob.compile_matcher())).map_err(|error| error.kind().to_string())
    }

    /// Whether the text is meant.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(name) => name == text,
            Self::Glob(glob) => glob.is_match(text),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(name) => name,
            Self::Glob(glob) => glob.glob().glob(),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}
