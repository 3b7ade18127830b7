//! Which records a sink gets.

use crate::policy::Pattern;
use crate::record::ledger::{Record, Subject};

/// Lets those pass that everything given here matches; an empty list matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What kind a record is of.
    pub reasons: Vec<Pattern>,
    /// Applications, as `name` or `namespace/name`.
    pub applications: Vec<Pattern>,
    /// Argo CD's projects.
    pub projects: Vec<Pattern>,
    /// Whether only what a person should see passes.
    pub warnings_only: bool,
}

impl Filter {
    /// Whether the record passes.
    pub fn passes(&self, record: &Record) -> bool {
        let any = |patterns: &[Pattern], text: Option<&str>| {
            patterns.is_empty() || text.is_some_and(|text| patterns.iter().any(|p| p.matches(text)))
        };
        let Record { application, warning, reason, .. } = record;
        (*warning || !self.warnings_only)
            && any(&self.reasons, Some(reason))
            && any(&self.projects, application.as_ref().and_then(|app| app.project.as_deref()))
            && (self.applications.is_empty() || application.as_ref().is_some_and(|app| self.names(app)))
    }

    fn names(&self, Subject { namespace, name, .. }: &Subject) -> bool {
        let full = format!("{namespace}/{name}");
        let means =
            |pattern: &Pattern| pattern.matches(if pattern.as_str().contains('/') { &full } else { name });
        self.applications.iter().any(means)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::fixture::record;

    #[test]
    fn a_record_passes_if_everything_given_matches() {
        let patterns =
            |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect::<Vec<_>>();
        let check = |reasons: &[&str], applications: &[&str], projects: &[&str], warnings_only, expected| {
            let filter = Filter {
                reasons: patterns(reasons),
                applications: patterns(applications),
                projects: patterns(projects),
                warnings_only,
            };
            let mut quiet = record("a", "Healthy", Some("shop"));
            quiet.warning = false;
            let loud = record("b", "HoldBegan", Some("shop"));
            let daemon = Record { application: None, ..record("c", "PoliciesLoaded", None) };
            let passed = [quiet, loud, daemon].map(|record| filter.passes(&record));
            assert_eq!(passed, expected, "{reasons:?} {applications:?} {projects:?}");
        };
        check(&[], &[], &[], false, [true, true, true]);
        check(&[], &[], &[], true, [false, true, true]);
        check(&["Hold*", "Policies*"], &[], &[], false, [false, true, true]);
        check(&["Healthy"], &["other", "sh*"], &[], false, [true, false, false]);
        check(&[], &["argocd/shop"], &[], false, [true, true, false]);
        check(&[], &["elsewhere/shop"], &[], false, [false, false, false]);
        check(&[], &[], &["payments"], false, [true, true, false]);
        check(&[], &[], &["default"], false, [false, false, false]);
    }
}
