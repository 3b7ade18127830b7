//! Everything that can happen to one application, as one closed enum.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::{Relation, RevertOutcome, Round, SloQuery};
use super::facts::{ApplicationFacts, HistoryEntry, Reading, RolloutFacts};
use super::forge::PullRequest;
use super::policy::Part;
use super::samples::Labels;

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The Application was seen, for the first time or changed.
    Application(Box<ApplicationFacts>),
    /// Its workloads or pods were seen, for the first time or changed.
    Rollout(RolloutFacts),
    /// SLO queries were answered.
    Measured {
        /// Which question this answers.
        round: Round,
        /// The answers.
        answers: Vec<SloAnswer>,
    },
    /// A revert was tried.
    Reverted {
        /// The rollback that asked.
        rollback: String,
        /// What became of it.
        outcome: RevertOutcome,
    },
    /// Pull requests were closed, or found to be merged: what became of each, or why that is not known.
    Withdrawn {
        /// The rollback that they were for.
        rollback: String,
        /// What became of them.
        outcome: Result<Vec<PullRequest>, String>,
    },
    /// The relation of two revisions, or why it is not known.
    Related(Result<Relation, String>),
    /// A person asks for a rollback of what runs, and says why.
    Asked {
        /// Why, in the person's words.
        because: String,
        /// The sync to go back to, where the person names one.
        to: Option<Box<HistoryEntry>>,
    },
    /// The daemon started, or took over, with this state: what was intended and not answered is asked for again.
    Started,
    /// Time passed: the moment of [`wake_at`](super::analysis::AppState::wake_at) or later. Spurious ones are harmless.
    Tick,
}

/// The answer to one SLO query at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SloAnswer {
    /// The SLO's name in the policy.
    pub slo: String,
    /// What of it was asked for.
    pub part: Part,
    /// The labels of the series, where each is judged by itself; none where there is none, or can be only one.
    pub series: Labels,
    /// The time that the value is of.
    pub at: Timestamp,
    /// The value or why there is none.
    pub reading: Reading,
}

impl SloAnswer {
    /// What a query gave at a time.
    pub fn new(query: &SloQuery, at: Timestamp, reading: Reading) -> Self {
        Self { slo: query.slo.clone(), part: query.part, series: Labels::new(), at, reading }
    }

    /// What a query gave for one of several series.
    pub fn of_series(query: &SloQuery, series: Labels, at: Timestamp, reading: Reading) -> Self {
        Self { series, ..Self::new(query, at, reading) }
    }
}
