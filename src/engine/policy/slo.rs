//! What is asked of Prometheus, and what convicts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::template::Template;

/// One query with its rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// Its name within the policy.
    pub name: String,
    /// The `PromQL`, with its placeholders.
    pub query: Template,
    /// How far back the query looks by itself: values closer together than this share samples.
    pub looks_back: Duration,
    /// What convicts.
    pub rule: Rule,
    /// What several series of one answer mean.
    pub series: Series,
    /// For how long a query that gave values before the sync may give none, before that counts as a failure; none
    /// means for ever.
    pub fails_when_missing: Option<Duration>,
}

impl Slo {
    /// An SLO that convicts alone, of a query that gives one series.
    pub fn new(name: impl Into<String>, query: Template, rule: Rule) -> Self {
        let (looks_back, series) = (Duration::ZERO, Series::Refuse);
        Self { name: name.into(), query, looks_back, rule, series, fails_when_missing: None }
    }
}

/// What convicts.
#[derive(Clone, Debug, PartialEq)]
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
}

/// How many measurements must fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strikes {
    /// Failing measurements that convict …
    pub failures: u32,
    /// … among this many of the latest.
    pub of: u32,
}

/// What a good value is; both limits are themselves good.
#[derive(Clone, Copy, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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

/// A long window that shows that it matters, and a short one that shows that it still goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windows {
    /// The long one.
    pub long: Duration,
    /// The short one.
    pub short: Duration,
    /// How many times faster than the objective allows the budget must be used up within both.
    pub factor: f64,
}

/// A comparison with the application's own past.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Which change is bad.
    pub worse: Worse,
    /// The least bad change, as a share of the median before.
    pub tolerance: f64,
    /// The least bad change in the query's own unit.
    pub minimum_change: Option<f64>,
    /// How long ago the values were that it must be worse than as well: a daily peak is no regression.
    pub also: Vec<Duration>,
}

/// Which change of a value is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// A greater value.
    Increase,
    /// A smaller value.
    Decrease,
    /// Any other value.
    Either,
}

/// What several series of one answer mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Series {
    /// A query that forgot to aggregate: nothing is known.
    #[default]
    Refuse,
    /// Each is judged by itself.
    Each,
}
