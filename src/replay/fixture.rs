//! What the tables of this folder begin with.

use crate::engine::fixture;
use crate::engine::policy::{Objective, Policy, Rule, Slo, Strikes};
use crate::engine::template::Template;

/// At most 0.05, three of five, a measurement each ten seconds, for a minute.
pub(super) fn policy() -> Policy {
    let query = Template::parse(r#"errors{app="{{ application }}",rev="{{ revision }}"}"#).unwrap();
    let strikes = Strikes { failures: 3, of: 5 };
    let rule = Rule::Threshold { objective: Objective::Max(0.05), strikes };
    Policy { slos: vec![Slo::new("errors", query, rule)], ..fixture::policy() }
}
