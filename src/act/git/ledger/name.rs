//! What a ledger's branches are called.

use jiff::tz::Offset;

use crate::record::ledger::Record;

/// Digits of a year.
const YEAR_CHARS: usize = 4;

/// What the branches of a cluster's ledger begin with; each year has one.
pub(super) fn prefix(cluster: &str) -> String {
    format!("lastgood/ledger/{}/", encoded(cluster))
}

/// The branch of a year.
pub(super) fn branch(prefix: &str, year: i16) -> String {
    format!("{prefix}{year:04}")
}

/// The year of a branch; none of one that is no ledger's.
pub(super) fn year(prefix: &str, branch: &str) -> Option<i16> {
    let digits = branch.strip_prefix(prefix)?;
    let sound = digits.len() == YEAR_CHARS && digits.bytes().all(|b| b.is_ascii_digit());
    sound.then(|| digits.parse().ok()).flatten()
}

/// The year that a record is of, in UTC.
pub(super) fn year_of(record: &Record) -> i16 {
    Offset::UTC.to_datetime(record.at).year()
}

/// The cluster's name as a part of a reference: what Git does not take is written as a URL would, so that no two clusters
/// share a branch.
fn encoded(cluster: &str) -> String {
    let bytes = cluster.as_bytes();
    let is_word = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let mut name = String::new();
    for (i, b) in bytes.iter().enumerate() {
        let plain = match b {
            b'-' | b'_' => true,
            // Neither at an end nor twice, and no name ends with `.lock`.
            b'.' => {
                let after = bytes.get(i + 1..).unwrap_or_default();
                let before = i.checked_sub(1).and_then(|before| bytes.get(before));
                is_word(before) && is_word(after.first()) && after != b"lock"
            }
            b => b.is_ascii_alphanumeric(),
        };
        if plain {
            name.push(char::from(*b));
        } else {
            name += &format!("%{b:02X}");
        }
    }
    if name.is_empty() { "%".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use git2::Reference;

    use super::*;

    #[test]
    fn every_cluster_has_a_branch_of_its_own() {
        for (cluster, expected) in [
            ("prod", "prod"),
            ("eu-west_1.prod", "eu-west_1.prod"),
            ("arn:aws:eks:eu:1:cluster/a", "arn%3Aaws%3Aeks%3Aeu%3A1%3Acluster%2Fa"),
            ("a b", "a%20b"),
            ("a%20b", "a%2520b"),
            ("", "%"),
            ("%", "%25"),
            (".a", "%2Ea"),
            ("a.", "a%2E"),
            ("a..b", "a%2E%2Eb"),
            ("a.lock", "a%2Elock"),
            ("a.lock.b", "a.lock.b"),
            ("@{-1}", "%40%7B-1%7D"),
            ("café", "caf%C3%A9"),
        ] {
            let branch = branch(&prefix(cluster), 2026);
            assert_eq!(branch, format!("lastgood/ledger/{expected}/2026"));
            assert!(Reference::is_valid_name(&format!("refs/heads/{branch}")), "{branch}");
            assert_eq!(year(&prefix(cluster), &branch), Some(2026));
        }
        for other in
            ["lastgood/ledger/prod/2026/x", "lastgood/ledger/prod/26", "lastgood/ledger/b/2026", "main"]
        {
            assert_eq!(year(&prefix("prod"), other), None, "{other}");
        }
    }
}
