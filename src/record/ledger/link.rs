//! One file of the ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Digest, Record, canonical};

/// Names the form of the files.
pub const SCHEMA: &str = "lastgood.dev/ledger/v1";

/// A record in its place in the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Link {
    /// [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    schema: String,
    /// Counts the links from 1.
    pub sequence: u64,
    /// The hash of the file before; none of the first.
    #[schemars(with = "Option<String>", regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub previous: Option<Digest>,
    /// What is recorded, with whatever a newer version adds to it.
    #[schemars(with = "Record")]
    pub record: serde_json::Value,
}

/// The newest link of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its number.
    pub sequence: u64,
    /// The hash of its file.
    pub hash: Digest,
}

/// Why a file is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It is no JSON, or lacks what every link has.
    #[error("it is not a record of a ledger: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It is of another form.
    #[error("it has the form `{0}`, and this version reads `{SCHEMA}`; is there a newer lastgood?")]
    Schema(String),
    /// It says the same in other bytes, so its hash is not the one that was written.
    #[error("it is not in the canonical form of RFC 8785: somebody wrote it anew")]
    NotCanonical,
}

impl Head {
    /// The head of a chain that ends with these bytes.
    pub(crate) fn of(sequence: u64, bytes: &[u8]) -> Self {
        Self { sequence, hash: Digest::of(bytes) }
    }
}

impl Link {
    /// The link of this record after `head`, which is none for the first.
    pub fn after(head: Option<&Head>, record: &Record) -> Result<Self, serde_json::Error> {
        Ok(Self {
            schema: SCHEMA.to_owned(),
            sequence: head.map_or(0, |head| head.sequence).saturating_add(1),
            previous: head.map(|head| head.hash.clone()),
            record: serde_json::to_value(record)?,
        })
    }

    /// The file, byte for byte.
    pub fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        canonical(self)
    }

    /// Reads a file.
    pub fn read(bytes: &[u8]) -> Result<Self, LinkError> {
        let link: Self = serde_json::from_slice(bytes)?;
        if link.schema != SCHEMA {
            return Err(LinkError::Schema(link.schema));
        }
        if link.bytes()? != bytes {
            return Err(LinkError::NotCanonical);
        }
        Ok(link)
    }

    /// What the next link carries.
    pub fn head(&self) -> Result<Head, serde_json::Error> {
        Ok(Head::of(self.sequence, &self.bytes()?))
    }

    /// The hash of the record alone, wherever it stands in the chain: what a revert's commit carries.
    pub fn record_hash(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&canonical(&self.record)?))
    }

    /// The record, as far as this version knows its fields.
    pub fn record(&self) -> Result<Record, serde_json::Error> {
        Record::deserialize(&self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ledger::record::tests::record;

    #[test]
    fn a_link_vouches_for_the_one_before() {
        let first = Link::after(None, &record("a")).unwrap();
        let second = Link::after(Some(&first.head().unwrap()), &record("b")).unwrap();
        assert_eq!((first.sequence, &first.previous), (1, &None));
        assert_eq!(
            (second.sequence, second.previous.clone()),
            (2, Some(Digest::of(&first.bytes().unwrap())))
        );
        assert_eq!(Link::read(&second.bytes().unwrap()).unwrap(), second);
        assert_eq!(second.record().unwrap(), record("b"));
    }

    #[test]
    fn the_hash_of_a_record_does_not_depend_on_its_place() {
        let first = Link::after(None, &record("a")).unwrap();
        let later = Link::after(Some(&first.head().unwrap()), &record("a")).unwrap();
        assert_eq!(first.record_hash().unwrap(), later.record_hash().unwrap());
        assert_eq!(first.record_hash().unwrap(), record("a").hash().unwrap());
    }

    #[test]
    fn other_bytes_are_refused_even_if_they_say_the_same() {
        let link = Link::after(None, &record("a")).unwrap();
        let pretty = serde_json::to_vec_pretty(&link).unwrap();
        assert!(matches!(Link::read(&pretty), Err(LinkError::NotCanonical)));
        let newer = String::from_utf8(link.bytes().unwrap()).unwrap().replace("ledger/v1", "ledger/v2");
        assert!(matches!(Link::read(newer.as_bytes()), Err(LinkError::Schema(_))));
        assert!(matches!(Link::read(b"{}"), Err(LinkError::Unreadable(_))));
    }

    #[test]
    fn what_a_newer_version_adds_to_a_record_is_kept() {
        let mut link = Link::after(None, &record("a")).unwrap();
        link.record.as_object_mut().unwrap().insert("weather".into(), "fair".into());
        let read = Link::read(&link.bytes().unwrap()).unwrap();
        assert_eq!(read.bytes().unwrap(), link.bytes().unwrap());
        assert_eq!(read.record().unwrap(), record("a"));
    }
}
