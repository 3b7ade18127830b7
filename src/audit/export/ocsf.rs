//! The Open Cybersecurity Schema Framework, version 1.3.0 (schema.ocsf.io): class Application Lifecycle.
//!
//! It is the class for what happens to a deployed application. That a revert changes it is the activity Update; what was seen
//! and decided about it has no activity there, and is Other with its own name.

use serde_json::{Value, json};

use super::Placed;

/// The version of the schema.
const VERSION: &str = "1.3.0";
/// The category Application Activity.
const CATEGORY: u32 = 6;
/// The class Application Lifecycle.
const CLASS: u32 = 6002;
/// Activities of the class.
const UPDATE: u32 = 8;
const OTHER: u32 = 99;
/// Severities: what a person should see is Medium, and the rest Informational.
const MEDIUM: u32 = 3;
const INFORMATIONAL: u32 = 1;

/// A record as one event.
pub(super) fn event(placed: &Placed) -> Value {
    let record = &placed.record;
    let activity =
        if matches!(record.reason.as_str(), "RevertPushed" | "RevertLive") { UPDATE } else { OTHER };
    let app = match &record.application {
        Some(app) => json!({ "name": placed.application(), "uid": app.uid, "vendor_name": "Argo CD" }),
        None => json!({ "name": "lastgood", "version": record.by.version, "vendor_name": "lastgood" }),
    };
    json!({
        "activity_id": activity,
        "activity_name": if activity == UPDATE { "Update" } else { record.reason.as_str() },
        "app": app,
        "category_name": "Application Activity",
        "category_uid": CATEGORY,
        "class_name": "Application Lifecycle",
        "class_uid": CLASS,
        "message": record.sentence,
        "metadata": {
            "version": VERSION,
            "product": { "name": "lastgood", "vendor_name": "lastgood", "version": record.by.version },
            "uid": record.id,
            "sequence": placed.sequence,
            "correlation_uid": record.rollback,
            "event_code": record.reason,
            "log_name": "ledger",
            "original_time": record.at.to_string(),
        },
        "severity_id": if record.warning { MEDIUM } else { INFORMATIONAL },
        "severity": if record.warning { "Medium" } else { "Informational" },
        "time": record.at.as_millisecond(),
        "type_uid": CLASS * 100 + activity,
        "unmapped": {
            "cluster": record.cluster,
            "application": record.application,
            "policy": record.policy,
            "by": record.by,
            "detail": record.detail,
            "evidence": record.evidence,
            "hash": placed.hash,
        },
    })
}
