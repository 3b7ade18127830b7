//! From facts and policy to measurements, and from measurements to a verdict.
//!
//! Three answers, not two: silence is not sickness. An inconclusive measurement never convicts and never makes a
//! revision good.

pub mod guard;
pub mod health;
pub mod rollout;
pub mod slo;
pub mod stats;
pub mod sync;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where measurements come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Signal {
    /// The sync operation itself.
    Sync,
    /// Workloads, pods, and Argo CD's own health.
    Rollout,
    /// A Prometheus query, by its name in the policy.
    Slo(String),
    /// A person, who asked for the rollback.
    Person,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync => f.write_str("sync"),
            Self::Rollout => f.write_str("rollout"),
            Self::Slo(name) => write!(f, "slo `{name}`"),
            Self::Person => f.write_str("a person"),
        }
    }
}

/// What one measurement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// Good.
    Pass,
    /// Bad.
    Fail,
    /// Not known (yet).
    Inconclusive,
}

/// What a signal says now, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The answer.
    pub outcome: Outcome,
    /// One sentence with its numbers.
    pub why: String,
    /// When the answer may change though nothing happens: the end of a grace time.
    pub recheck_at: Option<Timestamp>,
}

impl Judgement {
    fn new(outcome: Outcome, why: impl Into<String>) -> Self {
        Self { outcome, why: why.into(), recheck_at: None }
    }
}

/// How an analysis ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Verdict {
    /// Every signal passed for long enough.
    Healthy,
    /// At least one signal convicts.
    Degraded(Vec<Breach>),
    /// Not enough is known; the reasons, one sentence each.
    Inconclusive(Vec<String>),
}

/// A signal that convicts, with what it needs to be checked later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breach {
    /// Which signal.
    pub signal: Signal,
    /// One sentence with its numbers.
    pub why: String,
    /// Failing measurements that were counted.
    pub failing: u32,
    /// Failing measurements that the policy asks for.
    pub needed: u32,
    /// Passing measurements of the time before the sync: never 0, since a signal that was not seen to pass before
    /// cannot convict.
    pub passing_before: u32,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.signal, self.why)
    }
}
