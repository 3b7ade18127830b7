//! What is recorded.

use jiff::Timestamp;
use jiff::tz::Offset;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Digest, canonical};
use crate::record::account::evidence::Evidence;

/// One thing that was seen, decided or done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Names it: no other record has this id, and the same thing told twice has the same. Fit for a file name.
    pub id: String,
    /// When it was decided.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What kind it is of, as in the log: `RevertPushed`, `HoldBegan`, `PoliciesLoaded`.
    pub reason: String,
    /// The one sentence, as in the log.
    pub sentence: String,
    /// Whether a person should see it without looking for it.
    pub warning: bool,
    /// The daemon's cluster.
    pub cluster: String,
    /// Which application it is about; none where it is about the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Subject>,
    /// Names the rollback that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// Who recorded it.
    pub by: Recorder,
    /// The policy that was in force for the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyUsed>,
    /// What happened; its members depend on the reason.
    pub detail: Value,
    /// What it was decided from, for people: syncs, commits, signals with their queries and values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Evidence>")]
    pub evidence: Option<Value>,
    /// What it was decided from, whole: a decision can be taken again from this alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Value>,
}

/// An application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The Application's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its object's uid.
    pub uid: String,
    /// The `AppProject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Where its workloads run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
}

/// Where an application's workloads run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The cluster, as the Application writes it: its name or its API server's URL.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
}

/// The daemon, or the person's program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recorder {
    /// lastgood's version.
    pub version: String,
    /// The Pod, `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The `ServiceAccount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// The policy that was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyUsed {
    /// Its name.
    pub name: String,
    /// The hash of its text.
    #[schemars(with = "String", regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub hash: Digest,
    /// Its text, where something was done because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Record {
    /// The hash of the record alone, which stands in the revert's commit message.
    pub fn hash(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&canonical(self)?))
    }

    /// Where its file lies, from the ledger's root: `2026/01/31/ID.json`, by its day in UTC.
    pub fn path(&self) -> String {
        path_of(&self.id, self.at)
    }
}

/// Where the file of a record with this id and time lies.
pub fn path_of(id: &str, at: Timestamp) -> String {
    let day = Offset::UTC.to_datetime(at).date();
    format!("{:04}/{:02}/{:02}/{id}.json", day.year(), day.month(), day.day())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record of little.
    pub(crate) fn record(id: &str) -> Record {
        Record {
            id: id.to_owned(),
            at: "2026-01-31T23:59:59.5Z".parse().unwrap(),
            reason: "HoldBegan".into(),
            sentence: "on hold".into(),
            warning: true,
            cluster: "test".into(),
            application: None,
            rollback: None,
            by: Recorder::default(),
            policy: None,
            detail: Value::Null,
            evidence: None,
            inputs: None,
        }
    }

    #[test]
    fn a_record_lies_in_the_folder_of_its_day() {
        assert_eq!(record("a").path(), "2026/01/31/a.json");
    }
}
