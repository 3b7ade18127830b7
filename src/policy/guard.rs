//! Guards in a policy file: the fields, their sense, and what they become.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Report, Step, keys, short_text};
use super::file::{PolicyFile, Slo, TrueIs};
use super::slo::{limits, looks_back, query};
use super::words::Suspends;
use crate::engine::judge::slo::KEPT_MAX;
use crate::engine::policy::{self, Objective, Rule, Strikes};
use crate::engine::template::Template;

/// Guards of one policy; each is a query at each interval.
const GUARDS_MAX: usize = 8;

/// A query about what the application does not break itself, such as its nodes, a dependency or the ingress. While it fails, or
/// is not known, SLOs and workloads convict nobody; what was measured meanwhile does not count later either.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Guard {
    /// Its name, once in this policy, slos included.
    pub name: String,
    /// A `PromQL` query that gives one number, with the placeholders of SLO queries.
    pub query: String,
    /// The greatest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The smallest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// What 1 means, for a query that answers a question with 0 or 1: `bad` or `good`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub true_is: Option<TrueIs>,
    /// What convicts nobody meanwhile: `slos-and-rollout`, or `slos` alone, where a crash loop or a missing image is surely the
    /// application's own; `slos-and-rollout` by default.
    #[serde(default)]
    pub suspends: Suspends,
}

impl Guard {
    /// The query with its rule, as an SLO has them.
    pub(super) fn as_slo(&self) -> Slo {
        Slo {
            name: self.name.clone(),
            query: self.query.clone(),
            max: self.max,
            min: self.min,
            true_is: self.true_is,
            comparison: None,
            burn_rate: None,
            series: None,
            fail_after_missing: None,
            failures: None,
            of: None,
        }
    }

    /// What the engine takes.
    pub(super) fn convert(&self, file: &PolicyFile) -> Result<policy::Guard, String> {
        // All of an analysis: what was measured before the environment was well again does not count.
        let strikes = Strikes { failures: 1, of: rounds(file) };
        let rule = match (self.min, self.max, self.true_is) {
            (None, Some(max), None) => Rule::Threshold { objective: Objective::Max(max), strikes },
            (Some(min), None, None) => Rule::Threshold { objective: Objective::Min(min), strikes },
            (Some(min), Some(max), None) => {
                Rule::Threshold { objective: Objective::Between { min, max }, strikes }
            }
            (None, None, Some(answer)) => Rule::Boolean { true_is_bad: answer == TrueIs::Bad, strikes },
            _ => return Err(format!("guard `{}` has no rule, or several", self.name)),
        };
        let query = Template::parse(&self.query).map_err(|error| error.to_string())?;
        let looks_back = looks_back(&self.as_slo(), file);
        let asks = policy::Slo { looks_back, ..policy::Slo::new(self.name.clone(), query, rule) };
        Ok(policy::Guard { asks, suspends_rollout: self.suspends == Suspends::SlosAndRollout })
    }
}

/// Measurements of one guard in one analysis.
fn rounds(file: &PolicyFile) -> u32 {
    let (interval, longest) = (file.analysis.interval.0, file.analysis.duration.0.saturating_mul(2));
    let rounds = longest.as_millis() / interval.as_millis().max(1) + 2;
    u32::try_from(rounds).unwrap_or(KEPT_MAX).min(KEPT_MAX)
}

/// Finds what makes no sense about the guards.
pub(super) fn guards(file: &PolicyFile, report: &mut Report) {
    if file.guards.len() > GUARDS_MAX {
        let message = format!("{} guards are too many", file.guards.len());
        report.add(&keys(&["guards"]), message, format!("at most {GUARDS_MAX}"));
    }
    let mut names: BTreeSet<&str> = file.slos.iter().map(|slo| slo.name.as_str()).collect();
    for (i, guard) in file.guards.iter().enumerate() {
        let at =
            |field: &str| vec![Step::Key("guards".to_owned()), Step::Index(i), Step::Key(field.to_owned())];
        if short_text(&guard.name, &at("name"), "name", report) && !names.insert(&guard.name) {
            let message = format!("a second slo or guard named `{}`", guard.name);
            report.add(&at("name"), message, "give each a name of its own");
        }
        let limit = if guard.max.is_some() { "max" } else { "min" };
        match (guard.min.is_some() || guard.max.is_some(), guard.true_is.is_some()) {
            (false, false) => {
                let message = format!("the guard `{}` has no limit", guard.name);
                let help = "add `max:` (the greatest good value), `min:` (the smallest), or both; `trueIs:` where it answers 0 or 1";
                report.add(&at("query"), message, help);
            }
            (true, true) => {
                let message = format!("the guard `{}` has two rules, `{limit}` and `trueIs`", guard.name);
                report.add(&at("trueIs"), message, "give one; a query may stand in two guards");
            }
            (true, false) | (false, true) => {}
        }
        let slo = guard.as_slo();
        let query = query(&slo.query, None, file, &at("query"), report);
        limits(&slo, query.as_ref(), &at, report);
    }
}
