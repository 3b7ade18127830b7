//! What came of verifying a ledger, for people and for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::audit::chain::Chain;
use crate::audit::reverts::Compared;
use crate::audit::{Code, Finding, Place};
use crate::cli::{counted, sarif};
use crate::policy::mistake::printable;

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people.
    Text,
    /// One object for programs.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// What came of it.
pub(super) struct Outcome {
    /// Where the ledger is.
    pub(super) place: String,
    /// The chain of each cluster.
    pub(super) chains: Vec<Chain>,
    /// What is wrong between records and commits.
    pub(super) commits: Vec<Finding>,
    /// How many there are; none if they were not compared.
    pub(super) compared: Option<Compared>,
    /// What could not be checked.
    pub(super) unchecked: Vec<String>,
}

impl Outcome {
    /// Everything that is wrong.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.chains.iter().flat_map(|chain| &chain.findings).chain(&self.commits)
    }
}

impl Form {
    /// Writes the outcome in this form.
    pub(super) fn write(self, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => text(outcome, out),
            Self::Json => writeln!(out, "{:#}", json(outcome)),
            Self::Sarif => writeln!(out, "{:#}", sarif_log(outcome)),
        }
    }
}

fn text(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    for finding in outcome.findings() {
        writeln!(out, "{}", printable(&finding.to_string()))?;
        writeln!(out, "  help: {}", finding.code.advice())?;
    }
    for chain in &outcome.chains {
        let records = counted(chain.records, "record", "records");
        writeln!(out, "{}: {records} of cluster {}", printable(&outcome.place), printable(&chain.cluster))?;
        if let Some(head) = &chain.head {
            writeln!(out, "head: {} {} {}", printable(&chain.cluster), head.sequence, head.hash)?;
        }
    }
    if let Some(compared) = &outcome.compared {
        let reverts = counted(compared.reverts, "revert with its record", "reverts with their records");
        let mut told = vec![reverts];
        if compared.older > 0 {
            told.push(format!("{} from before the ledger", compared.older));
        }
        if compared.others > 0 {
            told.push(format!("{} of clusters whose ledger was not read", compared.others));
        }
        writeln!(out, "{}", told.join(", "))?;
    }
    for what in &outcome.unchecked {
        writeln!(out, "not checked: {}", printable(what))?;
    }
    match outcome.findings().count() {
        0 if outcome.unchecked.is_empty() => writeln!(out, "nothing is wrong"),
        0 => writeln!(out, "nothing is wrong with what was checked"),
        n => writeln!(out, "{}", counted(n, "finding", "findings")),
    }
}

fn json(outcome: &Outcome) -> Value {
    let chain =
        |chain: &Chain| json!({ "cluster": chain.cluster, "records": chain.records, "head": chain.head });
    let finding = |finding: &Finding| {
        json!({
            "code": finding.code.word(),
            "on": finding.on,
            "message": finding.message,
            "advice": finding.code.advice(),
        })
    };
    json!({
        "ledger": outcome.place,
        "chains": outcome.chains.iter().map(chain).collect::<Vec<_>>(),
        "reverts": outcome.compared.as_ref().map(|compared| json!({
            "recorded": compared.reverts,
            "older": compared.older,
            "ofOtherClusters": compared.others,
        })),
        "unchecked": outcome.unchecked,
        "findings": outcome.findings().map(finding).collect::<Vec<_>>(),
    })
}

fn sarif_log(outcome: &Outcome) -> Value {
    let rule = |code: &Code| sarif::rule(code.word(), code.about(), code.advice(), "error");
    let result = |finding: &Finding| {
        let location = match &finding.on {
            Place::File(path) => json!({ "physicalLocation": { "artifactLocation": { "uri": path } } }),
            Place::Chain(name) | Place::Commit(name) => {
                json!({ "logicalLocations": [{ "name": name, "kind": "object" }] })
            }
        };
        json!({
            "ruleId": finding.code.word(),
            "ruleIndex": Code::ALL.iter().position(|code| *code == finding.code),
            "level": "error",
            "message": { "text": format!("{}: {}\nhelp: {}", finding.on, finding.message, finding.code.advice()) },
            "locations": [location],
        })
    };
    let rules: Vec<_> = Code::ALL.iter().map(rule).collect();
    let results: Vec<_> = outcome.findings().map(result).collect();
    sarif::log(&rules, &results)
}
