//! What is kept of a ledger's file once it was read: little, since there can be a hundred thousand.

use jiff::Timestamp;
use serde::Deserialize;

use super::claim::Claim;
use super::finding::{Code, Finding};
use crate::record::ledger::{Digest, Link, LinkError, path_of};

/// A record in its place in the chain, without its content.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Where its file lies, from the ledger's root.
    pub path: String,
    /// Its number.
    pub sequence: u64,
    /// The hash that it carries of the file before.
    pub previous: Option<Digest>,
    /// The hash of its own file.
    pub hash: Digest,
    /// When it was decided.
    pub at: Timestamp,
    /// Its id.
    pub id: String,
    /// The daemon's cluster.
    pub cluster: String,
    /// The application, `namespace/name`; none where it is about the daemon.
    pub application: Option<String>,
    /// What it says of commits.
    pub claim: Option<Box<Claim>>,
}

/// What every record has.
#[derive(Deserialize)]
struct Known {
    id: String,
    at: Timestamp,
    cluster: String,
    #[serde(default)]
    application: Option<Application>,
}

#[derive(Deserialize)]
struct Application {
    namespace: String,
    name: String,
}

impl Leaf {
    /// Reads a file, and says what is wrong with it by itself. A file that is not canonical still has its place in the
    /// chain; one that is no record has none.
    pub fn read(path: &str, bytes: &[u8]) -> (Option<Self>, Vec<Finding>) {
        let mut found = Vec::new();
        let link = match Link::read(bytes) {
            Ok(link) => link,
            Err(error) => {
                let code = match &error {
                    LinkError::Unreadable(_) => Code::Unreadable,
                    LinkError::Schema(_) => Code::NewerForm,
                    LinkError::NotCanonical => Code::NotCanonical,
                };
                found.push(Finding::on_file(code, path, error.to_string()));
                match (code, serde_json::from_slice(bytes)) {
                    (Code::NotCanonical, Ok(link)) => link,
                    _ => return (None, found),
                }
            }
        };
        let known = match Known::deserialize(&link.record) {
            Ok(known) => known,
            Err(error) => {
                found.push(Finding::on_file(
                    Code::Unreadable,
                    path,
                    format!("it is not a record of a ledger: {error}"),
                ));
                return (None, found);
            }
        };
        let expected = path_of(&known.id, known.at);
        if expected != path {
            let message = format!("a record of this id and day lies at {expected}");
            found.push(Finding::on_file(Code::WrongPath, path, message));
        }
        let claim = Claim::of(&link).map(Box::new);
        let leaf = Self {
            path: path.to_owned(),
            sequence: link.sequence,
            previous: link.previous,
            hash: Digest::of(bytes),
            at: known.at,
            id: known.id,
            cluster: known.cluster,
            claim,
            application: known.application.map(|app| format!("{}/{}", app.namespace, app.name)),
        };
        (Some(leaf), found)
    }
}
