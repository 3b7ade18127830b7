//! What is kept for an application in one save: its state, and the records that tell how it came about.

use serde_json::Value;
use tracing::error;

use crate::engine::analysis::AppState;
use crate::engine::facts::AppKey;
use crate::record::waiting::Waiting;

/// Where the records stand, beside the members of the state.
///
/// Within the state and not beside it in the object: a cluster whose definition of the object is of an earlier version would
/// take them away without a word.
const RECORDS: &str = "records";

/// As it is saved.
///
/// # Errors
/// When it cannot be written as JSON, which would be a fault of ours.
pub(super) fn write(state: &AppState, waiting: &Waiting) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(state)?;
    if let Value::Object(members) = &mut value
        && *waiting != Waiting::default()
    {
        members.insert(RECORDS.to_owned(), serde_json::to_value(waiting)?);
    }
    Ok(value)
}

/// What was saved.
///
/// # Errors
/// When the state cannot be read. Records that cannot be read are given up: nothing to tell may hold a rollback up.
pub(super) fn read(key: &AppKey, mut value: Value) -> serde_json::Result<(AppState, Waiting)> {
    let records = value.as_object_mut().and_then(|members| members.remove(RECORDS));
    let state = serde_json::from_value(value)?;
    let waiting = records.map_or_else(|| Ok(Waiting::default()), serde_json::from_value);
    let waiting = waiting.unwrap_or_else(|error| {
        error!(application = %key, %error, "Records that waited for the ledger cannot be read and are lost.");
        Waiting::default()
    });
    Ok((state, waiting))
}
