//! What can be wrong with a ledger, each kind with the word by which programs and people know it.

use std::fmt;

use serde::Serialize;

/// Makes the enum of codes: the word, what it stands for, and what to do.
macro_rules! codes {
    ($($word:literal => $variant:ident: $about:literal, $advice:literal,)*) => {
        /// A kind of finding. Its word is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $about] $variant,)*
        }

        impl Code {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What it stands for, as one sentence.
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $about,)*
                }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self {
                    $(Self::$variant => $advice,)*
                }
            }
        }
    };
}

codes! {
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
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(cluster) => write!(f, "the ledger of {cluster}"),
            Self::File(path) => f.write_str(path),
        }
    }
}

impl Finding {
    /// A finding on a file.
    pub fn on_file(code: Code, path: &str, message: impl Into<String>) -> Self {
        Self { code, on: Place::File(path.to_owned()), message: message.into() }
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
