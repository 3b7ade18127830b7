//! The ledger: a chain of records, one file each, that nobody can change without that being seen.
//!
//! A file holds a [`Link`] in the canonical form of RFC 8785. It carries the SHA-256 of the file before it, so that the
//! newest hash vouches for all of them. The hash of the record alone stands in the revert's commit message, so that the
//! branch vouches for the ledger too.

mod chain;
mod digest;
mod folder;
mod link;
mod record;
mod seal;

pub(crate) use chain::{NewFile, chain, missing};
pub use digest::{Digest, canonical};
pub use folder::FolderLedger;
pub use link::{Head, Link, LinkError, SCHEMA};
pub use record::{Destination, PolicyUsed, Record, Recorder, Subject, path_of};
pub use seal::{SEALED, Seal};

/// The JSON Schema of a ledger's files.
pub fn schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft07().into_generator().into_root_schema_for::<Link>()
}

/// Somewhere that a ledger is kept. All calls block.
pub trait Ledger: Send + Sync {
    /// Where that is, for people; without credentials.
    fn place(&self) -> String;

    /// Adds the records that it does not hold yet, in this order, and says what the newest link is then.
    ///
    /// A record that is there already, by its id, is left alone, so that this can be repeated after a crash or an answer
    /// that was lost. Either all of them are added or none is.
    fn append(&self, records: &[Record]) -> Result<Option<Head>, LedgerError>;

    /// The links after this sequence number, oldest first, at most `most` of them.
    fn after(&self, sequence: u64, most: usize) -> Result<Vec<Link>, LedgerError>;
}

/// Why a ledger could not be read or added to.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Not now, or not with these rights; nothing was added, or it is not known.
    #[error("the ledger {place} cannot be reached: {why}")]
    Unreachable {
        /// Where it is.
        place: String,
        /// Why not.
        why: String,
    },
    /// What is there is no chain: nothing is added to it.
    #[error("the ledger {place} is broken at {path}: {why}")]
    Broken {
        /// Where it is.
        place: String,
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A record that no ledger can hold, a fault of whoever made it; nothing was added.
    #[error("the record `{id}` cannot be kept in a ledger: {why}")]
    Unfit {
        /// Which one.
        id: String,
        /// Why not.
        why: String,
    },
}
