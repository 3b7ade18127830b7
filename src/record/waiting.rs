//! Records that the ledger does not have yet, as they are saved with the state that they tell of.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};

use super::account::{self, Scene, Weight};
use super::ledger::{Record, Recorder};
use crate::engine::entry::{Entry, Kind};
use crate::engine::facts::AppKey;

/// Bytes of waiting records in one state, packed. The state itself takes some 300 kB at most, and etcd takes 1.5 MB.
const WAITING_BYTES_MAX: usize = 600_000;

/// Bytes of one record, packed; past it what it was decided from is left out. Several of a rollback have room together.
const RECORD_BYTES_MAX: usize = 150_000;

/// A record that is read is no larger than this: what is packed is ours, and a broken state must not take the memory.
const RECORD_READ_MAX: u64 = 64 << 20;

/// The records of one application that wait for the ledger, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Waiting {
    /// How many records were made for this application.
    made: u64,
    /// Them.
    records: Vec<Packed>,
    /// Records that had to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<Dropped>,
    /// The newest intent, for the trailer of its commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<Intent>,
}

/// A record in few bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packed {
    /// The record's id.
    pub id: String,
    /// Whether it may wait for others.
    pub routine: bool,
    /// JSON, in gzip.
    bytes: ByteString,
}

/// Records that went because there was no room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// How many of them were of analyses without consequence.
    pub routine: u64,
    /// When the first one went.
    pub since: Timestamp,
}

/// An intent to revert, and the hash of its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Intent {
    rollback: String,
    hash: String,
}

/// Why a record was not made or not read; either is a fault of ours.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It is no JSON.
    #[error("as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It cannot be packed or unpacked.
    #[error("packed: {0}")]
    Gzip(#[from] std::io::Error),
}

impl Packed {
    fn of(record: &Record, routine: bool) -> Result<Self, PackError> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&serde_json::to_vec(record)?)?;
        Ok(Self { id: record.id.clone(), routine, bytes: ByteString(gzip.finish()?) })
    }

    /// The record.
    ///
    /// # Errors
    /// When it is not what was packed.
    pub fn record(&self) -> Result<Record, PackError> {
        let mut json = Vec::new();
        GzDecoder::new(self.bytes.0.as_slice()).take(RECORD_READ_MAX).read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// As it stands in the state: base64 takes a third more.
    fn size(&self) -> usize {
        self.bytes.0.len().div_ceil(3) * 4 + self.id.len()
    }
}

impl Waiting {
    /// Adds the records of a step's entries, as many as the ledger keeps.
    ///
    /// # Errors
    /// When one cannot be written as JSON; those before it are added.
    pub fn add(&mut self, entries: &[Entry], scene: &Scene<'_>) -> Result<(), PackError> {
        for entry in entries {
            let weight = account::weight(&entry.kind);
            if weight == Weight::None {
                continue;
            }
            self.made += 1;
            let mut record = account::record(entry, scene, self.made)?;
            let mut packed = Packed::of(&record, weight == Weight::Routine)?;
            if packed.size() > RECORD_BYTES_MAX {
                record.inputs = None;
                packed = Packed::of(&record, packed.routine)?;
            }
            if let Kind::RevertIntended { order, .. } = &entry.kind {
                let hash = record.hash()?.to_string();
                self.intent = Some(Intent { rollback: order.rollback.clone(), hash });
            }
            self.push(packed, entry.at);
        }
        Ok(())
    }

    fn push(&mut self, packed: Packed, at: Timestamp) {
        self.records.push(packed);
        while self.records.len() > 1
            && self.records.iter().map(Packed::size).sum::<usize>() > WAITING_BYTES_MAX
        {
            // Healthy analyses first, then the oldest: the newest may be an intent whose hash goes into a commit.
            let place = self.records.iter().position(|record| record.routine).unwrap_or(0);
            let gone = self.records.remove(place);
            let dropped = self.dropped.get_or_insert(Dropped { count: 0, routine: 0, since: at });
            dropped.count += 1;
            dropped.routine += u64::from(gone.routine);
        }
    }

    /// Tells that records had to go, once there is room again.
    pub fn tell_dropped(&mut self, key: &AppKey, uid: &str, cluster: &str, by: &Recorder, now: Timestamp) {
        let Some(dropped) = self.dropped.take() else { return };
        let record = account::dropped(key, uid, cluster, by, now, self.made + 1, &dropped);
        if let Ok(packed) = Packed::of(&record, false) {
            self.made += 1;
            self.push(packed, now);
        }
    }

    /// The hash of the record of this rollback's intent, if that is the newest.
    pub fn intent(&self, rollback: &str) -> Option<&str> {
        self.intent.as_ref().filter(|intent| intent.rollback == rollback).map(|intent| intent.hash.as_str())
    }

    /// What waits, oldest first.
    pub fn records(&self) -> &[Packed] {
        &self.records
    }

    /// Takes out what the ledger has; whether there was anything.
    pub fn has(&mut self, ids: &[String]) -> bool {
        let before = self.records.len();
        self.records.retain(|record| !ids.contains(&record.id));
        self.records.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of about so many bytes that cannot be made smaller.
    fn bulky(id: &str, bytes: usize) -> Record {
        let mut random = 1_u64;
        let noise = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((random >> 33) % 26).unwrap())
        });
        let (key, dropped) =
            (AppKey::new("argocd", "shop"), Dropped { count: 0, routine: 0, since: Timestamp::UNIX_EPOCH });
        let mut record =
            account::dropped(&key, "uid", "test", &Recorder::default(), dropped.since, 1, &dropped);
        id.clone_into(&mut record.id);
        record.sentence = noise.take(bytes).collect();
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_packed() {
        let packed = Packed::of(&bulky("a", 1000), true).unwrap();
        let saved = serde_json::to_string(&packed).unwrap();
        assert_eq!(serde_json::from_str::<Packed>(&saved).unwrap().record().unwrap(), bulky("a", 1000));
        assert!(packed.size() >= saved.len() - 60, "{} for {}", packed.size(), saved.len());
    }

    #[test]
    fn where_there_is_no_room_healthy_analyses_go_first_and_that_is_told() {
        let mut waiting = Waiting::default();
        let at = Timestamp::UNIX_EPOCH;
        for i in 0..20 {
            let routine = i % 2 == 1;
            waiting.push(Packed::of(&bulky(&i.to_string(), 80_000), routine).unwrap(), at);
        }
        let kept: Vec<u32> = waiting.records().iter().map(|record| record.id.parse().unwrap()).collect();
        assert!(kept.iter().all(|i| i % 2 == 0) && kept.last() == Some(&18), "{kept:?}");
        let saved = serde_json::to_string(&waiting).unwrap();
        assert!((400_000..WAITING_BYTES_MAX + 10_000).contains(&saved.len()), "{}", saved.len());
        assert_eq!(serde_json::from_str::<Waiting>(&saved).unwrap(), waiting);

        let ids: Vec<String> = kept.iter().map(ToString::to_string).collect();
        assert!(waiting.has(&ids) && !waiting.has(&ids));
        let (key, by) = (AppKey::new("argocd", "shop"), Recorder::default());
        waiting.tell_dropped(&key, "uid", "test", &by, at);
        waiting.tell_dropped(&key, "uid", "test", &by, at);
        let told: Vec<Record> = waiting.records().iter().map(|packed| packed.record().unwrap()).collect();
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(told.reason, "RecordsDropped");
        assert_eq!(told.detail["count"], 20 - kept.len());
        assert_eq!(told.detail["routine"], 10);
    }
}
