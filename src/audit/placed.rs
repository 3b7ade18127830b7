//! A record in its place in the chain.

use crate::record::ledger::{Digest, Record};

/// A record in its place in the chain.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its number.
    pub sequence: u64,
    /// The hash of its file.
    pub hash: Digest,
    /// It.
    pub record: Record,
}

impl Placed {
    /// The application, `namespace/name`; empty where it is about the daemon.
    pub fn application(&self) -> String {
        self.record
            .application
            .as_ref()
            .map(|app| format!("{}/{}", app.namespace, app.name))
            .unwrap_or_default()
    }
}
