//! Whether the records of a cluster are one chain, from the first to the head.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::finding::{Code, Finding};
use super::leaf::Leaf;
use crate::record::ledger::Head;

/// How far two clocks of the daemon's nodes may be apart before a record that seems to be written too early is a finding.
pub const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(60);

/// What came of checking a chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Whose.
    pub cluster: String,
    /// How many records it has.
    pub records: usize,
    /// Its newest link.
    pub head: Option<Head>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Checks the files of one cluster's ledger, and brings them into the order of the chain.
///
/// `remembered` is what the chain is known to have contained. What was before `since` may have been put away.
pub fn check(cluster: &str, leaves: &mut [Leaf], since: Option<Timestamp>, remembered: &[Head]) -> Chain {
    leaves.sort_by(|a, b| (a.sequence, &a.path).cmp(&(b.sequence, &b.path)));
    let mut findings = Vec::new();
    strangers(cluster, leaves, &mut findings);
    beginning(cluster, leaves, since, &mut findings);
    links(cluster, leaves, &mut findings);
    times(leaves, &mut findings);
    for head in remembered {
        findings.extend(is_lost(cluster, leaves, head));
    }
    let head = leaves.last().map(|leaf| Head { sequence: leaf.sequence, hash: leaf.hash.clone() });
    Chain { cluster: cluster.to_owned(), records: leaves.len(), head, findings }
}

/// Records that belong elsewhere, and those that are there twice.
fn strangers(cluster: &str, leaves: &[Leaf], findings: &mut Vec<Finding>) {
    let mut seen = HashSet::with_capacity(leaves.len());
    for leaf in leaves {
        if leaf.cluster != cluster {
            let message = format!("it is a record of cluster {}", leaf.cluster);
            findings.push(Finding::on_file(Code::WrongCluster, &leaf.path, message));
        }
        if !seen.insert(leaf.id.as_str()) {
            let message = format!("another file has the id {} too", leaf.id);
            findings.push(Finding::on_file(Code::IdTwice, &leaf.path, message));
        }
    }
}

fn beginning(cluster: &str, leaves: &[Leaf], since: Option<Timestamp>, findings: &mut Vec<Finding>) {
    let Some(first) = leaves.first() else { return };
    if first.sequence != 1 {
        if since.is_some_and(|since| first.at <= since) {
            return;
        }
        let message =
            format!("it begins with record {}: {} missing", first.sequence, span(1, first.sequence));
        findings.push(Finding::on_chain(Code::RecordsMissing, cluster, message));
    } else if first.previous.is_some() {
        let message = "it is the first record, and carries the hash of one before";
        findings.push(Finding::on_file(Code::ChainBroken, &first.path, message));
    }
}

fn links(cluster: &str, leaves: &[Leaf], findings: &mut Vec<Finding>) {
    let Some(first) = leaves.first() else { return };
    // Where two have the same number, the next one tells which of them it was written after.
    let mut before = vec![first];
    for leaf in leaves.iter().skip(1) {
        let Some(newest) = before.last().copied() else { continue };
        if leaf.sequence == newest.sequence {
            let message = format!("it is record {}, and so is {}", leaf.sequence, newest.path);
            findings.push(Finding::on_file(Code::SequenceTwice, &leaf.path, message));
            before.push(leaf);
            continue;
        }
        if leaf.sequence > newest.sequence.saturating_add(1) {
            let from = newest.sequence.saturating_add(1);
            let message =
                format!("{} missing between {} and {}", span(from, leaf.sequence), newest.path, leaf.path);
            findings.push(Finding::on_chain(Code::RecordsMissing, cluster, message));
        } else if !before.iter().any(|before| leaf.previous.as_ref() == Some(&before.hash)) {
            let named = leaf.previous.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
            let message = format!(
                "record {} carries the hash {named} of record {}, and {} has {}",
                leaf.sequence, newest.sequence, newest.path, newest.hash
            );
            findings.push(Finding::on_file(Code::ChainBroken, &leaf.path, message));
        }
        before = vec![leaf];
    }
}

/// `record 3 is`, or `records 3 to 5 are`: those before `end`.
fn span(from: u64, end: u64) -> String {
    let last = end.saturating_sub(1);
    if from == last { format!("record {from} is") } else { format!("records {from} to {last} are") }
}

/// Whether the records of each application are in the order of their times.
///
/// Over applications they need not be: a record waits in its application's state until it is written. Those of the daemons
/// themselves come from several.
fn times(leaves: &[Leaf], findings: &mut Vec<Finding>) {
    let mut newest: HashMap<&str, Timestamp> = HashMap::new();
    for leaf in leaves {
        let Some(application) = leaf.application.as_deref() else { continue };
        let last = newest.entry(application).or_insert(leaf.at);
        if last.duration_since(leaf.at).unsigned_abs() > CLOCKS_DIFFER_MAX && leaf.at < *last {
            let message = format!("it is of {}, and one of {last} was written before it", leaf.at);
            findings.push(Finding::on_file(Code::TimeReversed, &leaf.path, message));
        }
        *last = leaf.at.max(*last);
    }
}

fn is_lost(cluster: &str, leaves: &[Leaf], head: &Head) -> Option<Finding> {
    let newest = leaves.last().map_or(0, |leaf| leaf.sequence);
    if newest < head.sequence {
        let message = format!(
            "it ends with record {newest}, and record {} with {} was known",
            head.sequence, head.hash
        );
        return Some(Finding::on_chain(Code::Truncated, cluster, message));
    }
    let at = leaves.partition_point(|leaf| leaf.sequence < head.sequence);
    let mut there = leaves.iter().skip(at).take_while(|leaf| leaf.sequence == head.sequence);
    if there.any(|leaf| leaf.hash == head.hash) {
        return None;
    }
    let message =
        format!("record {} is another one than the one with {} that was known", head.sequence, head.hash);
    Some(Finding::on_chain(Code::Rewritten, cluster, message))
}
