//! What a decision was taken from, whole, so that it can be taken again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Scene, members};
use crate::engine::analysis::App;
use crate::engine::analysis::{AppState, Seen};
use crate::engine::decide::{Context, step};
use crate::engine::entry::{Entry, Kind};
use crate::engine::event::Event;
use crate::engine::facts::AppKey;
use crate::engine::origin::Written;
use crate::engine::policy::Policy;
use crate::record::ledger::Record;
use crate::record::secrets;

/// All that [`step`] takes.
///
/// A newer version reads what an older one wrote: a field that is new needs a default, and one that is gone is passed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    /// The application.
    pub key: AppKey,
    /// Its state before.
    pub state: AppState,
    /// What was known of it.
    pub seen: Seen,
    /// What happened.
    pub event: Event,
    /// The rules.
    pub policy: Policy,
    /// The daemon's cluster.
    pub cluster: String,
    /// The time.
    pub now: Timestamp,
    /// How many other applications were sick.
    pub others_degraded: u32,
    /// What the application that writes this one's specification was synced to.
    #[serde(default)]
    pub parent: Option<Written>,
}

/// Why a decision cannot be taken again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Its record holds no inputs.
    #[error(
        "the record {id} ({reason}) holds nothing that it was decided from; records of intents, holds and refusals do"
    )]
    NoInputs {
        /// Its id.
        id: String,
        /// What it is of.
        reason: String,
    },
    /// They cannot be read.
    #[error("what the record {id} was decided from cannot be read: {why}")]
    Unreadable {
        /// Its id.
        id: String,
        /// Why not.
        why: serde_json::Error,
    },
}

/// A decision, taken again.
#[derive(Debug)]
pub struct Again {
    /// What this version decides.
    pub entries: Vec<Entry>,
    /// What differs from the record, one line each; nothing where it is the same decision.
    pub differences: Vec<String>,
}

/// What an entry was decided from, where it is one that decides or refuses to act.
pub(super) fn of(entry: &Entry, scene: &Scene<'_>) -> Result<Option<Value>, serde_json::Error> {
    let decides =
        matches!(entry.kind, Kind::RevertIntended { .. } | Kind::HoldBegan { .. } | Kind::Refrained { .. });
    if !decides {
        return Ok(None);
    }
    let Context { policy, cluster, now, others_degraded, parent } = scene.context;
    let inputs = Inputs {
        key: scene.key.clone(),
        state: scene.before.state.clone(),
        seen: scene.before.seen.clone(),
        event: scene.event.clone(),
        policy: policy.clone(),
        cluster: cluster.to_owned(),
        now,
        others_degraded,
        parent: parent.cloned(),
    };
    serde_json::to_value(inputs).map(Some)
}

/// Takes the decision of a record again, from the record alone.
///
/// # Errors
/// When it holds no inputs, or none that this version can read.
pub fn replay(record: &Record) -> Result<Again, ReplayError> {
    let id = || record.id.clone();
    let Some(inputs) = record.inputs.clone() else {
        return Err(ReplayError::NoInputs { id: id(), reason: record.reason.clone() });
    };
    let unreadable = |why| ReplayError::Unreadable { id: id(), why };
    let Inputs { key, state, seen, event, policy, cluster, now, others_degraded, parent } =
        serde_json::from_value(inputs).map_err(unreadable)?;
    let context =
        Context { policy: &policy, cluster: &cluster, now, others_degraded, parent: parent.as_ref() };
    let entries = step(&key, App { state, seen }, event, &context).entries;
    let differences = match entries.iter().find(|entry| entry.kind.reason() == record.reason) {
        Some(entry) => {
            let mut detail = members(serde_json::to_value(&entry.kind).map_err(unreadable)?);
            secrets::hide(&mut detail);
            let mut differences = Vec::new();
            compare("", &record.detail, &detail, &mut differences);
            differences
        }
        None => {
            let told: Vec<_> = entries.iter().map(|entry| entry.kind.reason()).collect();
            let told = if told.is_empty() { "nothing".to_owned() } else { told.join(", ") };
            vec![format!("the record says {}, and now {told} would be decided", record.reason)]
        }
    };
    Ok(Again { entries, differences })
}

/// Finds where `now` is not what `then` says; what a newer version adds is no difference.
fn compare(place: &str, then: &Value, now: &Value, differences: &mut Vec<String>) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (name, then) in then {
                compare(&format!("{place}/{name}"), then, now.get(name).unwrap_or(&Value::Null), differences);
            }
        }
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
            for (i, (then, now)) in then.iter().zip(now).enumerate() {
                compare(&format!("{place}/{i}"), then, now, differences);
            }
        }
        _ if then == now => {}
        _ => differences.push(format!("{place}: the record says {then}, and now it would be {now}")),
    }
}
