//! A page for auditors: every change, with what it was decided from. One file of HTML, without scripts, that prints well.

mod evidence;
mod html;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use self::html::{Cell, escape, section, table};
use super::chain::Chain;
use super::claim::Part;
use super::placed::Placed;
use serde::Deserialize as _;

/// What the page is made of.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Where the ledger is.
    pub place: &'a str,
    /// The time that it is about; none is without bound.
    pub from: Option<Timestamp>,
    /// Its end.
    pub to: Option<Timestamp>,
    /// What came of checking the chains.
    pub chains: &'a [Chain],
    /// The records of that time, in the chain's order.
    pub records: &'a [Placed],
}

/// What ends a rollback.
const OUTCOMES: [&str; 5] =
    ["Recovered", "HoldBegan", "RevertAbandoned", "RevertPlanned", "PullRequestEnded"];

/// The page.
pub fn html(report: &Report<'_>) -> String {
    let rollbacks = rollbacks(report.records);
    let mut body = format!("<h1>Changes by lastgood</h1>\n<p>{}</p>\n", escape(&about(report)));
    body += &chains(report);
    body += "<h2>Rollbacks</h2>\n";
    body += &overview(&rollbacks);
    for rollback in &rollbacks {
        body += &section(&rollback.title(), &rollback.body());
    }
    let others: Vec<&Placed> =
        report.records.iter().filter(|one| one.record.rollback.is_none() && one.record.warning).collect();
    body += "<h2>Other decisions</h2>\n<p>What did not lead to a rollback, and what was refused.</p>\n";
    body += &timeline(&others);
    body += "<h2>All records of this time</h2>\n";
    body += &counts(report.records);
    html::page("Changes by lastgood", &body)
}

fn about(report: &Report<'_>) -> String {
    let time = |at: Option<Timestamp>, none: &str| at.map_or_else(|| none.to_owned(), |at| at.to_string());
    format!(
        "Ledger {}, from {} to {}.",
        report.place,
        time(report.from, "its beginning"),
        time(report.to, "its end")
    )
}

/// Whether the chains hold, with what somebody needs to check it again.
fn chains(report: &Report<'_>) -> String {
    let rows = report.chains.iter().map(|chain| {
        let head =
            chain.head.as_ref().map(|head| format!("{} {} {}", chain.cluster, head.sequence, head.hash));
        let found = match chain.findings.as_slice() {
            [] => "whole: no record was changed, removed or added between others".to_owned(),
            [only] => format!("not whole: {only}"),
            [first, more @ ..] => format!("not whole: {first}; and {} more findings", more.len()),
        };
        vec![
            Cell::text(&chain.cluster),
            Cell::text(chain.records.to_string()),
            Cell::text(found),
            Cell::code(head.unwrap_or_default()),
        ]
    });
    table(&["cluster", "records", "chain", "head"], rows)
        + "<p>Commits, signatures and remembered heads are checked by <code>lastgood audit verify</code>.</p>\n"
}

/// The records of one rollback.
struct Rollback<'a> {
    id: &'a str,
    records: Vec<&'a Placed>,
}

fn rollbacks(records: &[Placed]) -> Vec<Rollback<'_>> {
    let mut rollbacks: Vec<Rollback<'_>> = Vec::new();
    let mut known: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for placed in records {
        let Some(id) = placed.record.rollback.as_deref() else { continue };
        let at = *known.entry((&placed.record.cluster, id)).or_insert(rollbacks.len());
        match rollbacks.get_mut(at) {
            Some(rollback) => rollback.records.push(placed),
            None => rollbacks.push(Rollback { id, records: vec![placed] }),
        }
    }
    rollbacks
}

impl<'a> Rollback<'a> {
    fn of(&self, reason: &str) -> Option<&'a Placed> {
        self.records.iter().rev().find(|one| one.record.reason == reason).copied()
    }

    fn first(&self) -> Option<&'a Placed> {
        self.records.first().copied()
    }

    fn application(&self) -> String {
        self.first().map(Placed::application).unwrap_or_default()
    }

    fn title(&self) -> String {
        format!("{}: {}", self.application(), self.id)
    }

    fn outcome(&self) -> String {
        let last = self.records.iter().rev().find(|one| OUTCOMES.contains(&one.record.reason.as_str()));
        last.map_or_else(|| "not over in this time".to_owned(), |one| one.record.sentence.clone())
    }

    /// What was pushed where.
    fn parts(&self) -> Vec<Part> {
        let pushed = self.of("RevertPushed").and_then(|one| one.record.detail.pointer("/record/parts"));
        pushed.and_then(|parts| Vec::deserialize(parts).ok()).unwrap_or_default()
    }

    fn row(&self) -> Vec<Cell> {
        let decision = self.of("RevertIntended").or(self.first());
        let reverts: Vec<String> = self.parts().into_iter().map(|part| part.revert).collect();
        let by = decision.map(|one| one.record.by.clone()).unwrap_or_default();
        vec![
            Cell::text(self.first().map(|one| one.record.at.to_string()).unwrap_or_default()),
            Cell::text(self.application()),
            Cell::text(decision.map(|one| one.record.sentence.clone()).unwrap_or_default()),
            Cell::code(reverts.join(" ")),
            Cell::text(self.outcome()),
            Cell::text(by.pod.unwrap_or(by.version)),
        ]
    }

    fn body(&self) -> String {
        let mut body = timeline(&self.records);
        let parts = self.parts();
        if !parts.is_empty() {
            body += "<h4>What was undone</h4>\n";
            body += &commits(&parts);
        }
        for placed in &self.records {
            body += &evidence::html(placed);
        }
        let policy = self.records.iter().rev().find_map(|one| one.record.policy.as_ref());
        if let Some(policy) = policy {
            let hash = escape(policy.hash.as_str());
            body += &format!("<h4>Policy {}</h4>\n<p><code>{hash}</code></p>\n", escape(&policy.name));
            body += &policy
                .text
                .as_ref()
                .map(|text| format!("<pre>{}</pre>\n", escape(text)))
                .unwrap_or_default();
        }
        body
    }
}

fn overview(rollbacks: &[Rollback<'_>]) -> String {
    if rollbacks.is_empty() {
        return "<p>There was none.</p>\n".to_owned();
    }
    let columns = ["time", "application", "decision", "revert", "outcome", "by"];
    table(&columns, rollbacks.iter().map(Rollback::row))
}

fn commits(parts: &[Part]) -> String {
    let rows = parts.iter().flat_map(|part| {
        let revert = vec![
            Cell::text("revert"),
            Cell::code(part.revert.clone()),
            Cell::text(format!("{} on {}", part.branch, part.repo_url)),
            Cell::text(String::new()),
            Cell::text(part.files.join(", ")),
        ];
        let culprit = |named: &super::claim::Named| {
            vec![
                Cell::text("undone"),
                Cell::code(named.revision.clone()),
                Cell::text(named.author.clone()),
                Cell::text(named.authored_at.to_string()),
                Cell::text(named.subject.clone()),
            ]
        };
        std::iter::once(revert).chain(part.culprits.iter().map(culprit)).collect::<Vec<_>>()
    });
    table(&["", "commit", "where, by whom", "when", "what"], rows)
}

fn timeline(records: &[&Placed]) -> String {
    if records.is_empty() {
        return "<p>There was none.</p>\n".to_owned();
    }
    let row = |one: &&Placed| {
        vec![
            Cell::text(one.record.at.to_string()),
            Cell::text(one.application()),
            Cell::text(one.record.reason.clone()),
            Cell::text(one.record.sentence.clone()),
            Cell::code(format!("{} {} {}", one.sequence, one.record.id, one.hash)),
        ]
    };
    table(&["time", "application", "what", "", "record"], records.iter().map(row))
}

fn counts(records: &[Placed]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for placed in records {
        *counts.entry(&placed.record.reason).or_default() += 1;
    }
    let row = |(reason, count): (&str, usize)| vec![Cell::text(reason), Cell::text(count.to_string())];
    table(&["kind", "records"], counts.into_iter().map(row))
}

/// A value as one line.
fn compact(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
