//! Comma-separated values, by RFC 4180.

use super::Placed;

/// The names of the columns.
pub const HEADER: &str = "sequence,id,at,reason,warning,cluster,namespace,application,project,destination_cluster,\
destination_namespace,rollback,policy,sentence,version,pod,hash";

pub(super) fn line(placed: &Placed) -> String {
    let record = &placed.record;
    let app = record.application.as_ref();
    let destination = app.and_then(|app| app.destination.as_ref());
    let cells = [
        placed.sequence.to_string(),
        record.id.clone(),
        record.at.to_string(),
        record.reason.clone(),
        record.warning.to_string(),
        record.cluster.clone(),
        app.map(|app| app.namespace.clone()).unwrap_or_default(),
        app.map(|app| app.name.clone()).unwrap_or_default(),
        app.and_then(|app| app.project.clone()).unwrap_or_default(),
        destination.map(|to| to.cluster.clone()).unwrap_or_default(),
        destination.map(|to| to.namespace.clone()).unwrap_or_default(),
        record.rollback.clone().unwrap_or_default(),
        record.policy.as_ref().map(|policy| policy.name.clone()).unwrap_or_default(),
        record.sentence.clone(),
        record.by.version.clone(),
        record.by.pod.clone().unwrap_or_default(),
        placed.hash.to_string(),
    ];
    cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",")
}

/// A cell; what a spreadsheet would take for a formula begins with an apostrophe.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
