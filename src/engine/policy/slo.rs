//! What is asked of Prometheus, and what convicts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::template::Template;

/// One query with its rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slo {
    /// Its name within the policy.
    pub name: String,
    /// The `PromQL`, with its placeholders.
    pub query: Template,
    /// How far back the query looks by itself: values closer together than this share samples.
    #[serde(with = "crate::engine::time::seconds")]
    pub looks_back: Duration,
    /// What convicts.
    pub rule: Rule,
    /// What several series of one answer mean.
    pub series: Series,
    /// For how long a query that gave values before the sync may give none, before that counts as a failure; none
    /// means for ever.
    #[serde(with = "crate::engine::time::seconds::option")]
    pub fails_when_missing: Option<Duration>,
}

impl Slo {
    /// An SLO that convicts alone, of a query that gives one series.
    pub fn new(name: impl Into<String>, query: Template, rule: Rule) -> Self {
        let (looks_back, series) = (Duration::ZERO, Series::Refuse);
        Self { name: name.into(), query, looks_back, rule, series, fails_when_missing: None }
    }

    /// What is asked for it, the main part first: of a burn rate the share of errors within each short window, and the events.
    pub fn parts(&self) -> Vec<Part> {
        let Rule::BurnRate(rule) = &self.rule else { return vec![Part::Value] };
        let mut seen = BTreeSet::new();
        let windows: Vec<_> =
            rule.windows.iter().map(|pair| pair.short).filter(|short| seen.insert(*short)).collect();
        let events = windows.iter().filter(|_| rule.events.is_some()).map(|window| Part::Events(*window));
        windows.iter().map(|window| Part::Ratio(*window)).chain(events).collect()
    }

    /// The part that tells by itself how it is doing.
    pub fn main_part(&self) -> Part {
        match &self.rule {
            Rule::BurnRate(rule) => rule.windows.first().map_or(Part::Value, |pair| Part::Ratio(pair.short)),
            Rule::Threshold { .. } | Rule::Boolean { .. } | Rule::Comparison(_) => Part::Value,
        }
    }

    /// The query for a part with its placeholders filled in; a name without a value is given back as the error.
    pub fn render(&self, part: Part, values: &BTreeMap<&str, &str>) -> Result<String, String> {
        match (part, &self.rule) {
            (Part::Value, _) => self.query.render(values, None),
            (Part::Ratio(window), _) => self.query.render(values, Some(window)),
            (Part::Events(window), Rule::BurnRate(BurnRate { events: Some(events), .. })) => {
                events.render(values, Some(window))
            }
            (Part::Events(_), _) => Err("events".to_owned()),
        }
    }

    /// The names of the placeholders of all its queries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let events = match &self.rule {
            Rule::BurnRate(rule) => rule.events.as_ref(),
            Rule::Threshold { .. } | Rule::Boolean { .. } | Rule::Comparison(_) => None,
        };
        self.query.names().chain(events.into_iter().flat_map(Template::names))
    }
}

/// A question about what the application does not break itself: its nodes, a dependency, the ingress.
///
/// While it does not pass, what SLOs show convicts nobody: it may be the environment's fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// What is asked, and what a good answer is; each answer counts by itself.
    pub asks: Slo,
    /// Whether workloads and pods convict nobody meanwhile either.
    pub suspends_rollout: bool,
}

/// What of an SLO one query asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// Its value.
    #[default]
    Value,
    /// Of a burn rate, the share of events within this time that failed.
    Ratio(#[serde(with = "crate::engine::time::seconds")] Duration),
    /// Of a burn rate, how many events there were within this time.
    Events(#[serde(with = "crate::engine::time::seconds")] Duration),
}

impl Part {
    /// Whether it is the value itself.
    pub fn is_value(&self) -> bool {
        *self == Self::Value
    }
}

/// What convicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Rule {
    /// Values outside of fixed limits.
    Threshold {
        /// What a good value is.
        objective: Objective,
        /// How many must be bad.
        strikes: Strikes,
    },
    /// A query that is itself the question: 0 is false, 1 is true.
    Boolean {
        /// Whether 1 is the bad answer.
        true_is_bad: bool,
        /// How many answers must be bad.
        strikes: Strikes,
    },
    /// Values worse than the application's own of the time before the sync.
    Comparison(Comparison),
    /// An error budget that is used up too fast.
    BurnRate(BurnRate),
}

impl Rule {
    /// How many statistical tests it makes, each of which may err; none for fixed limits.
    ///
    /// A rule with any is judged against the whole baseline of the time before the sync.
    pub fn tests(&self) -> usize {
        match self {
            Self::Threshold { .. } | Self::Boolean { .. } => 0,
            Self::Comparison(_) => 1,
            Self::BurnRate(rule) => rule.windows.len(),
        }
    }
}

/// How many measurements must fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strikes {
    /// Failing measurements that convict …
    pub failures: u32,
    /// … among this many of the latest.
    pub of: u32,
}

/// What a good value is; both limits are themselves good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Objective {
    /// At most this.
    Max(f64),
    /// At least this.
    Min(f64),
    /// Between the two.
    Between {
        /// At least this.
        min: f64,
        /// At most this.
        max: f64,
    },
}

/// An objective for the share of events that are good, as *The Site Reliability Workbook* alerts on it (chapter 5,
/// "Alerting on SLOs", the sixth way: several windows, several burn rates).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BurnRate {
    /// The share of events that may be bad: 0.001 for an objective of 99.9 %.
    pub budget: f64,
    /// How many events there were within `{{ window }}`.
    pub events: Option<Template>,
    /// Fewer bad events than this never convict.
    pub minimum_errors: u32,
    /// Each pair convicts alone; never empty.
    pub windows: Vec<Windows>,
}

impl BurnRate {
    /// The least share of errors within this short window that is too much for one of its pairs.
    pub fn limit(&self, short: Duration) -> f64 {
        let pairs = self.windows.iter().filter(|pair| pair.short == short);
        pairs.map(|pair| self.limit_of(pair)).fold(f64::INFINITY, f64::min)
    }

    /// The share of errors that is too much for a pair.
    pub fn limit_of(&self, pair: &Windows) -> f64 {
        pair.factor * self.budget
    }
}

/// A long window that shows that it matters, and a short one that shows that it still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Windows {
    /// The long one.
    #[serde(with = "crate::engine::time::seconds")]
    pub long: Duration,
    /// The short one.
    #[serde(with = "crate::engine::time::seconds")]
    pub short: Duration,
    /// How many times faster than the objective allows the budget must be used up within both.
    pub factor: f64,
}

/// A comparison with the application's own past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Which change is bad.
    pub worse: Worse,
    /// The least bad change, as a share of the median before.
    pub tolerance: f64,
    /// The least bad change in the query's own unit.
    pub minimum_change: Option<f64>,
    /// How long ago the values were that it must be worse than as well: a daily peak is no regression.
    #[serde(with = "crate::engine::time::seconds::list")]
    pub also: Vec<Duration>,
}

/// Which change of a value is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Worse {
    /// A greater value.
    Increase,
    /// A smaller value.
    Decrease,
    /// Any other value.
    Either,
}

/// What several series of one answer mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Series {
    /// A query that forgot to aggregate: nothing is known.
    #[default]
    Refuse,
    /// Each is judged by itself.
    Each,
}
