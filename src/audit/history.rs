//! Whether the commits of a ledger's branch only ever added records, and say which.

use std::collections::HashMap;

use super::chain::CLOCKS_DIFFER_MAX;
use super::finding::{Code, Finding};
use super::leaf::Leaf;
use crate::act::git::inspect::{ChangeKind, Commit, Signed};
use crate::act::git::ledger::{TRAILER_LEDGER, TRAILER_LEDGER_END};
use crate::record::ledger::Digest;

/// Checks the commits of one branch, oldest first. `leaves` are those of the cluster.
pub fn check(commits: &[Commit], leaves: &[Leaf]) -> Vec<Finding> {
    let by_path: HashMap<&str, &Leaf> = leaves.iter().map(|leaf| (leaf.path.as_str(), leaf)).collect();
    let mut findings = Vec::new();
    let (mut begun, mut ended) = (false, false);
    for commit in commits {
        if commit.parents.len() > 1 {
            let message = format!("it merges {} commits", commit.parents.len());
            findings.push(Finding::on_commit(Code::NotLinear, &commit.id, message));
        } else if commit.parents.is_empty() && std::mem::replace(&mut begun, true) {
            let message = "it has no commit before it, and is not the first one";
            findings.push(Finding::on_commit(Code::NotLinear, &commit.id, message));
        }
        let added = changes(commit, &by_path, &mut findings);
        trailer(commit, &added, &mut findings);
        if ended {
            let message = "it comes after the commit that ended the branch";
            findings.push(Finding::on_commit(Code::NotLinear, &commit.id, message));
        }
        ended |= is_end(commit, leaves, &mut findings);
        for leaf in added {
            let early = leaf.at.duration_since(commit.committed_at);
            if leaf.at > commit.committed_at && early.unsigned_abs() > CLOCKS_DIFFER_MAX {
                let message = format!(
                    "it is of {}, and commit {} that adds it is of {}",
                    leaf.at, commit.id, commit.committed_at
                );
                findings.push(Finding::on_file(Code::WrittenBefore, &leaf.path, message));
            }
        }
        findings.extend(signature(commit));
    }
    findings
}

/// The records that a commit adds, in the chain's order.
fn changes<'a>(
    commit: &Commit,
    by_path: &HashMap<&str, &'a Leaf>,
    findings: &mut Vec<Finding>,
) -> Vec<&'a Leaf> {
    let mut added: Vec<&Leaf> = Vec::new();
    for change in &commit.changes {
        let path = &change.path;
        let finding = match change.kind {
            ChangeKind::Modified => (Code::FileChanged, format!("it changes {path}")),
            ChangeKind::Removed => (Code::FileRemoved, format!("it removes {path}")),
            ChangeKind::Added if !is_record(path) => (Code::StrayFile, format!("it adds {path}")),
            ChangeKind::Added => {
                added.extend(by_path.get(path.as_str()).copied());
                continue;
            }
        };
        findings.push(Finding::on_commit(finding.0, &commit.id, finding.1));
    }
    added.sort_by_key(|leaf| leaf.sequence);
    added
}

/// Whether a record can lie here: `2026/01/31/ID.json`.
pub fn is_record(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let digits = |part: &str, n| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [year, month, day, file] => {
            digits(year, 4) && digits(month, 2) && digits(day, 2) && file.strip_suffix(".json").is_some()
        }
        _ => false,
    }
}

fn trailer(commit: &Commit, added: &[&Leaf], findings: &mut Vec<Finding>) {
    let (Some(first), Some(last)) = (added.first(), added.last()) else { return };
    let expected = (first.sequence, last.sequence, &last.hash);
    let told = commit.trailer(TRAILER_LEDGER);
    if told.and_then(parse).is_some_and(|(from, to, hash)| (from, to, &hash) == expected) {
        return;
    }
    let told = told.map_or_else(|| "says nothing".to_owned(), |told| format!("says `{told}`"));
    let message = format!("it {told}, and adds {}-{} {}", expected.0, expected.1, expected.2);
    findings.push(Finding::on_commit(Code::WrongTrailer, &commit.id, message));
}

/// Whether a commit ends the branch of a year; it names the record that is the last one.
fn is_end(commit: &Commit, leaves: &[Leaf], findings: &mut Vec<Finding>) -> bool {
    let Some(told) = commit.trailer(TRAILER_LEDGER_END) else { return false };
    let last = told.split_once(' ').and_then(|(sequence, hash)| Some((sequence.parse::<u64>().ok()?, hash)));
    let is_so = |leaf: &Leaf| last == Some((leaf.sequence, leaf.hash.as_str()));
    if !leaves.iter().any(is_so) {
        let message = format!("it ends the branch with `{told}`, and there is no such record");
        findings.push(Finding::on_commit(Code::WrongTrailer, &commit.id, message));
    }
    true
}

fn parse(text: &str) -> Option<(u64, u64, Digest)> {
    let (numbers, hash) = text.split_once(' ')?;
    let (first, last) = numbers.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, Digest::try_from(hash.trim().to_owned()).ok()?))
}

/// What is wrong with a commit's signature, where somebody said which keys to trust.
pub(super) fn signature(commit: &Commit) -> Option<Finding> {
    match &commit.signature {
        Signed::NotChecked | Signed::By(_) => None,
        Signed::Not => Some(Finding::on_commit(Code::Unsigned, &commit.id, "it is not signed")),
        Signed::Wrong(why) => Some(Finding::on_commit(Code::WrongSignature, &commit.id, why)),
    }
}
