//! What can be wrong with a ledger, each kind with the word by which programs and people know it.

use std::fmt;

use serde::Serialize;

use crate::codes::codes;

codes! {
    /// A kind of finding. Its word is stable.
    /// What to do about it.
    advice: &'static str,
    "unreadable" => Unreadable: "A file is no record of a ledger.",
        "Restore the file from a copy of the ledger; find out who wrote it.",
    "newer-form" => NewerForm: "A file has a form that this version does not read.",
        "Verify with the version of lastgood that wrote it.",
    "not-canonical" => NotCanonical: "A file says what a record says, in other bytes than lastgood writes.",
        "Restore the file from a copy; find out who wrote it anew.",
    "wrong-path" => WrongPath: "A record lies elsewhere than its id and its day say.",
        "Compare with a copy: was the file moved, or its id or time changed?",
    "wrong-cluster" => WrongCluster: "A record of another cluster.",
        "Compare with the other cluster's ledger: was the file copied?",
    "id-twice" => IdTwice: "Two records have the same id.",
        "Compare with a copy: one of them was added by hand.",
    "records-missing" => RecordsMissing: "The chain has a gap: records were removed, or cannot be read.",
        "Restore them from a copy of the ledger.",
    "sequence-twice" => SequenceTwice: "Two records have the same place in the chain: one was added by hand, or two chains were mixed.",
        "Compare with a copy; the record that the next one names is the real one.",
    "chain-broken" => ChainBroken: "A record does not carry the hash of the one before: one of the two was changed, moved or replaced.",
        "Compare both with a copy of the ledger.",
    "time-reversed" => TimeReversed: "A record is older than one that was written before it for the same application.",
        "Look at the clocks of the daemon's nodes at that time, then at who wrote it.",
    "truncated" => Truncated: "The chain ends before a head that was known before: its newest records were removed.",
        "Restore them from a copy; see who could push to the ledger since.",
    "rewritten" => Rewritten: "The chain does not contain a head that was known before: it was written anew.",
        "Restore the ledger from a copy that has that head; see who could force a push since.",
    "file-changed" => FileChanged: "A commit of the ledger changes a file that was there: it is only ever added to.",
        "The file as it was lies in the commit before; see who made this one.",
    "file-removed" => FileRemoved: "A commit of the ledger removes a file: it is only ever added to.",
        "The file lies in the commit before; see who made this one.",
    "stray-file" => StrayFile: "A commit of the ledger adds a file that is no record.",
        "See who made the commit; lastgood writes records only.",
    "not-linear" => NotLinear: "The ledger's history is not one line: it was merged, begins twice, or goes on after its end.",
        "Compare with a copy; lastgood adds one commit upon the last.",
    "wrong-trailer" => WrongTrailer: "A commit of the ledger does not say which records it adds, or says it wrongly.",
        "See who made the commit; compare its files with a copy.",
    "written-before" => WrittenBefore: "A record is younger than the commit that holds it.",
        "Look at the clocks of the daemon's nodes at that time, then at who wrote it.",
    "unsigned" => Unsigned: "A commit that should be signed is not.",
        "Give the keys of that time; see who could push.",
    "wrong-signature" => WrongSignature: "A commit is signed by a key that is not trusted, or was changed after it was signed.",
        "Give the keys of that time; see who could push.",
    "commit-missing" => CommitMissing: "A commit that a record names is not in its repository.",
        "Was the branch's history rewritten, or the record invented? Look for the commit in another copy.",
    "commit-off-branch" => CommitOffBranch: "A revert that a record names is not on its branch.",
        "Was the branch's history rewritten? Look for the commit in another copy.",
    "commit-differs" => CommitDiffers: "A commit is not what a record says of it.",
        "Compare both with copies: one of them was written anew.",
    "revert-unrecorded" => RevertUnrecorded: "A commit says that the daemon made it, and no record says that it was pushed.",
        "Wait a minute if it is new: records can come later than the commit. Else see who pushed it, and whether records were removed.",
    "record-unknown" => RecordUnknown: "A revert names a record by its hash, and the ledger has no such record.",
        "The trailer was forged, or the ledger was written anew: compare the ledger with a copy, and see who pushed the commit.",
    "no-record-trailer" => NoRecordTrailer: "A revert of the daemon names no record, though there was a ledger.",
        "See who pushed the commit.",
}

/// Something that is not as it was written, or does not agree with something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub code: Code,
    /// On which file of the ledger, or on which commit.
    pub on: Place,
    /// What is wrong, as one sentence.
    pub message: String,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// The chain of this cluster as a whole.
    Chain(String),
    /// A file of the ledger.
    File(String),
    /// A commit.
    Commit(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(cluster) => write!(f, "the ledger of {cluster}"),
            Self::File(path) => f.write_str(path),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

impl Finding {
    /// A finding on a file.
    pub fn on_file(code: Code, path: &str, message: impl Into<String>) -> Self {
        Self { code, on: Place::File(path.to_owned()), message: message.into() }
    }

    /// A finding on a commit.
    pub fn on_commit(code: Code, id: &str, message: impl Into<String>) -> Self {
        Self { code, on: Place::Commit(id.to_owned()), message: message.into() }
    }

    /// A finding on a whole chain.
    pub fn on_chain(code: Code, cluster: &str, message: impl Into<String>) -> Self {
        Self { code, on: Place::Chain(cluster.to_owned()), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code.word(), self.on, self.message)
    }
}
