//! Records for sinks, and the commands about them.

use std::path::Path;
use std::process::Command;

use lastgood::record::ledger::{Record, Recorder, Subject};
use serde_json::json;

/// A record about the application of this name.
pub(crate) fn record(id: &str, app: &str) -> Record {
    Record {
        id: id.to_owned(),
        at: "2026-01-31T12:00:00.25Z".parse().unwrap(),
        reason: "HoldBegan".into(),
        sentence: "on hold: later commits changed the same lines".into(),
        warning: true,
        cluster: "prod".into(),
        application: Some(Subject {
            namespace: "argocd".into(),
            name: app.to_owned(),
            uid: "u1".into(),
            project: None,
            destination: None,
        }),
        rollback: None,
        by: Recorder::default(),
        policy: None,
        detail: json!({ "holdBegan": { "id": "h" } }),
        evidence: None,
        inputs: None,
    }
}

/// What `lastgood ARGS` prints with this file of sinks and this folder of states.
pub(crate) fn lastgood(args: &[&str], sinks: &Path, state: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastgood"));
    let output = command.args(args).arg("--sinks").arg(sinks).arg("--state").arg(state).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
