//! Error budgets in a policy file: the fields, their sense, and the rule that they become.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Report, Step};
use super::duration::Span;
use super::file::PolicyFile;
use super::share::Share;
use crate::engine::policy;
use crate::engine::template::Template;

/// Pairs of windows of one SLO; each short window is one or two queries at each interval.
const WINDOWS_MAX: usize = 4;

/// Failed events below which nobody is convicted, unless the policy says: one failed request of three is no outage.
const MINIMUM_ERRORS: u32 = 5;

/// How fast an error budget may be used up, for a query that gives the share of events within `{{ window }}` that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnRate {
    /// The share of events that must be good, such as `99.9%`; the rest is the error budget.
    pub objective: Share,
    /// A `PromQL` query that gives the number of events within `{{ window }}`, by which little traffic is told from much. Without
    /// it, it takes several windows that all are bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
    /// Fewer failed events than this convict nobody, as far as `events` are counted; `5` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_errors: Option<u32>,
    /// The windows, each pair of which convicts alone; by default one pair.
    #[serde(default = "one_pair")]
    pub windows: Vec<Windows>,
}

/// Two windows within both of which the budget must be used up too fast: a long one that shows that it matters, and a short
/// one that shows that it still goes on.
///
/// The short one is asked for; what lies after the sync adds up to the long one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Windows {
    /// The long one; `5m` by default.
    pub long: Span,
    /// The short one, which `{{ window }}` stands for; `1m` by default.
    pub short: Span,
    /// How many times faster than the objective allows is too fast; `14.4` by default, which uses 2 % of the budget of a
    /// month up within an hour.
    pub factor: f64,
}

impl Default for Windows {
    fn default() -> Self {
        Self { long: Span::secs(300), short: Span::secs(60), factor: 14.4 }
    }
}

fn one_pair() -> Vec<Windows> {
    vec![Windows::default()]
}

impl BurnRate {
    /// The share of events that may be bad.
    fn budget(&self) -> f64 {
        // Without the last bits of the subtraction, so that it reads as it was meant.
        ((1.0 - self.objective.0) * 1e12).round() / 1e12
    }

    /// What `{{ window }}` is for checks: the shortest.
    pub(super) fn window(&self) -> Duration {
        let windows = self.windows.iter().map(|pair| pair.short.0);
        let shortest = windows.filter(|window| !window.is_zero()).min();
        shortest.unwrap_or(Windows::default().short.0)
    }

    /// The rule; the templates' mistakes are found before.
    pub(super) fn rule(&self) -> Result<policy::BurnRate, String> {
        let events = self.events.as_deref().map(Template::parse).transpose();
        Ok(policy::BurnRate {
            budget: self.budget(),
            events: events.map_err(|error| error.to_string())?,
            minimum_errors: self.minimum_errors.unwrap_or(MINIMUM_ERRORS),
            windows: self
                .windows
                .iter()
                .map(|pair| policy::Windows { long: pair.long.0, short: pair.short.0, factor: pair.factor })
                .collect(),
        })
    }
}

/// Finds what makes no sense about an error budget; `at` is the way to a field of it.
pub(super) fn check(
    rule: &BurnRate,
    file: &PolicyFile,
    at: &impl Fn(&str) -> Vec<Step>,
    report: &mut Report,
) {
    let objective = rule.objective;
    if objective.0 > 1.0 {
        let help = format!("as a share, such as `{}%`", if objective.0 < 100.0 { objective.0 } else { 99.9 });
        report.add(&at("objective"), format!("an objective of {objective} is none"), help);
    } else if (objective.0 - 1.0).abs() < f64::EPSILON {
        let message = "an objective of 100 % leaves no error budget: a single failed event would use it up";
        report.add(&at("objective"), message, "leave room, as in `99.9%`");
    } else if objective.0 <= 0.0 {
        let message = format!("an objective of {objective} cannot be missed");
        report.add(&at("objective"), message, "more than 0, such as `99.9%`");
    }
    match rule.minimum_errors {
        Some(0) => report.add(&at("minimumErrors"), "no failed event convicts nobody", "at least 1"),
        Some(_) if rule.events.is_none() => {
            let help = "add `events:`, such as `sum(increase(http_requests_total[{{ window }}]))`";
            report.add(&at("minimumErrors"), "without `events` errors are not counted", help);
        }
        Some(_) | None => {}
    }
    if rule.windows.is_empty() {
        report.add(
            &at("windows"),
            "there are no windows: nothing could convict",
            "leave it out for one pair",
        );
    } else if rule.windows.len() > WINDOWS_MAX {
        let message = format!("{} pairs of windows are too many", rule.windows.len());
        report.add(&at("windows"), message, format!("at most {WINDOWS_MAX}"));
    }
    for (i, pair) in rule.windows.iter().enumerate() {
        let inside = |field: &str| {
            let mut path = at("windows");
            path.extend([Step::Index(i), Step::Key(field.to_owned())]);
            path
        };
        windows(pair, rule, file, &inside, report);
    }
}

fn windows(
    pair: &Windows,
    rule: &BurnRate,
    file: &PolicyFile,
    at: &impl Fn(&str) -> Vec<Step>,
    report: &mut Report,
) {
    let analysis = file.analysis.duration;
    if pair.short.0.is_zero() {
        report.add(&at("short"), "the short window takes no time", "at least four scrapes, such as `1m`");
    }
    if pair.long <= pair.short {
        let message =
            format!("the long window ({}) is no longer than the short one ({})", pair.long, pair.short);
        report.add(&at("long"), message, "several times as long, such as `5m` and `1m`");
    } else if pair.long > analysis {
        let message = format!(
            "the long window ({}) is longer than the analysis ({analysis}), and only what lies after the sync counts",
            pair.long
        );
        report.add(&at("long"), message, "shorten it, or lengthen `analysis.duration`");
    }
    let (factor, budget) = (pair.factor, rule.budget());
    if !factor.is_finite() || factor <= 0.0 {
        report.add(&at("factor"), format!("a factor of {factor} is none"), "more than 0, such as `14.4`");
    } else if budget > 0.0 && budget < 1.0 && factor * budget > 1.0 {
        let most = Share((10.0 / budget).floor() / 1000.0);
        let message = format!(
            "more than every event would have to fail: {factor} times the error budget of {} is {}",
            Share(budget),
            Share(factor * budget)
        );
        report.add(&at("factor"), message, format!("at most `{}`", most.0 * 100.0));
    }
}
