//! What a question to the outside gave, or why there is no answer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One answer to one SLO query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Reading {
    /// A finite number.
    Value(f64),
    /// No number, and why.
    Gap(Gap),
}

/// Why something is not known. A gap is never a sign of sickness and never one of health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Gap {
    /// The query matched no series.
    NoData,
    /// The answer was NaN, as of 0/0 without traffic.
    NotANumber,
    /// The answer was infinite, as of x/0.
    Infinite,
    /// The query gave several series where one number is wanted.
    SeveralSeries(usize),
    /// Each series is judged, and there are more than [`SERIES_MAX`](super::samples::SERIES_MAX).
    TooManySeries(usize),
    /// The server warned that its answer may be incomplete.
    Partial(String),
    /// No answer in time.
    TimedOut,
    /// The server could not be reached or broke off.
    Unreachable(String),
    /// The server answered with an error.
    ServerError(String),
    /// The credentials are missing, unusable or not taken.
    Credentials(String),
    /// The server refused the query itself.
    QueryRefused(String),
    /// Argo CD's health is older than the end of the operation: it describes the revision before.
    HealthOlderThanSync,
    /// Workloads live in a cluster that this daemon does not read.
    OtherCluster,
    /// The watch of workloads or pods is not up to date.
    NotWatching(String),
}

impl Gap {
    /// Whether the same question may be answered later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TimedOut
            | Self::Unreachable(_)
            | Self::ServerError(_)
            | Self::Credentials(_)
            | Self::Partial(_)
            | Self::NotWatching(_) => true,
            Self::NoData
            | Self::NotANumber
            | Self::Infinite
            | Self::SeveralSeries(_)
            | Self::TooManySeries(_)
            | Self::QueryRefused(_)
            | Self::HealthOlderThanSync
            | Self::OtherCluster => false,
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData => f.write_str("no data: the query matched no series"),
            Self::NotANumber => f.write_str("NaN (as of 0/0: no traffic)"),
            Self::Infinite => f.write_str("infinite (a division by zero)"),
            Self::SeveralSeries(n) => write!(f, "{n} series where one number is wanted"),
            Self::TooManySeries(n) => {
                write!(f, "{n} series, and at most {} are judged", super::samples::SERIES_MAX)
            }
            Self::Partial(warning) => write!(f, "a partial answer: {warning}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::ServerError(why) => write!(f, "the server failed: {why}"),
            Self::Credentials(why) => write!(f, "credentials: {why}"),
            Self::QueryRefused(why) => write!(f, "the server refused the query: {why}"),
            Self::HealthOlderThanSync => f.write_str("Argo CD's health is older than the sync"),
            Self::OtherCluster => f.write_str("the workloads are in another cluster"),
            Self::NotWatching(what) => write!(f, "not watching {what}"),
        }
    }
}
