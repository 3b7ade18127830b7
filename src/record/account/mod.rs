//! From a journal entry to the record that the ledger keeps of it. Pure.

pub mod evidence;
pub mod inputs;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ledger::{Destination, Digest, PolicyUsed, Record, Recorder, Subject};
use super::secrets;
use super::waiting::Dropped;
use crate::engine::analysis::{App, Phase};
use crate::engine::decide::Context;
use crate::engine::entry::{Entry, Kind, LastGoodFrom};
use crate::engine::event::Event;
use crate::engine::facts::{AppKey, ApplicationFacts};
use crate::engine::judge::Verdict;
use crate::engine::policy::Policy;

/// The step that an entry is of, and who tells it.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The application.
    pub key: &'a AppKey,
    /// The Application object's uid.
    pub uid: &'a str,
    /// Who records it.
    pub by: &'a Recorder,
    /// The application as the step found it.
    pub before: &'a App,
    /// What happened.
    pub event: &'a Event,
    /// What else the step looked at.
    pub context: Context<'a>,
    /// The application as the step left it.
    pub after: &'a App,
}

impl Scene<'_> {
    fn application(&self) -> Option<&ApplicationFacts> {
        self.after.seen.application.as_deref()
    }

    /// The rollback that is going on, before or after the step.
    fn rollback(&self) -> Option<&str> {
        [&self.before.state.phase, &self.after.state.phase].into_iter().find_map(|phase| match phase {
            Phase::Reverting(reverting) => Some(reverting.order.rollback.as_str()),
            Phase::Confirming(confirming) => Some(confirming.order.rollback.as_str()),
            Phase::New | Phase::Adopting(_) | Phase::Idle { .. } | Phase::Analysing(_) => None,
        })
    }
}

/// How much an entry matters to whoever reads the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It stays in the log.
    None,
    /// It may wait for others, and is the first to go where there is no room.
    Routine,
    /// It is told at once.
    Urgent,
}

/// What an entry weighs: all that is done, refused or taken back is urgent.
pub fn weight(kind: &Kind) -> Weight {
    match kind {
        Kind::AnalysisBegan { .. } | Kind::RevertRetried { .. } => Weight::None,
        Kind::LastGood { from: LastGoodFrom::Person, .. } => Weight::Urgent,
        // The analysis or the recovery that made it so has a record.
        Kind::LastGood { .. } => Weight::None,
        Kind::AnalysisEnded { verdict: Verdict::Healthy | Verdict::Inconclusive(_), .. }
        | Kind::AnalysisSuperseded { .. } => Weight::Routine,
        Kind::AnalysisEnded { verdict: Verdict::Degraded(_), .. }
        | Kind::Suspended { .. }
        | Kind::RevertIntended { .. }
        | Kind::RevertWaits { .. }
        | Kind::PullRequestInstead { .. }
        | Kind::PullRequestOpened { .. }
        | Kind::PullRequestEnded { .. }
        | Kind::RevertAbandoned { .. }
        | Kind::RevertPlanned { .. }
        | Kind::RevertPushed { .. }
        | Kind::SyncTerminated { .. }
        | Kind::RevertLive { .. }
        | Kind::Recovered { .. }
        | Kind::HoldBegan { .. }
        | Kind::Refrained { .. }
        | Kind::HoldEnded { .. } => Weight::Urgent,
    }
}

/// The record of an entry, which is the `count`th of this application.
///
/// The same step told twice gives the same record.
///
/// # Errors
/// When something cannot be written as JSON, which would be a fault of ours.
pub fn record(entry: &Entry, scene: &Scene<'_>, count: u64) -> Result<Record, serde_json::Error> {
    let mut detail = members(serde_json::to_value(&entry.kind)?);
    let rollback = detail.get("rollback").or(detail.pointer("/order/rollback")).and_then(Value::as_str);
    let rollback = rollback.or(scene.rollback().filter(|_| of_rollback(&entry.kind))).map(str::to_owned);
    let mut evidence = serde_json::to_value(evidence::of(entry, scene))?;
    let mut inputs = inputs::of(entry, scene)?;
    for value in [Some(&mut detail), Some(&mut evidence), inputs.as_mut()].into_iter().flatten() {
        secrets::hide(value);
    }
    Ok(Record {
        id: id(entry.at, scene.uid, count),
        at: entry.at,
        reason: entry.kind.reason().to_owned(),
        sentence: secrets::hidden(&entry.kind.to_string()),
        warning: entry.kind.is_warning(),
        cluster: scene.context.cluster.to_owned(),
        application: Some(subject(scene)),
        rollback,
        by: scene.by.clone(),
        policy: Some(policy(scene.context.policy, weight(&entry.kind) == Weight::Urgent)),
        detail,
        evidence: Some(evidence).filter(|evidence| evidence.as_object().is_some_and(|all| !all.is_empty())),
        inputs,
    })
}

/// Names a record: by time, so that files lie in order, and unlike any other.
pub fn id(at: Timestamp, whose: &str, count: u64) -> String {
    let whose = whose.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-');
    let whose: String = whose.take(OWNER_CHARS_MAX).collect();
    format!("{}-{whose}-{count:06}", at.strftime("%Y%m%dT%H%M%S%3fZ"))
}

/// The longest name of an owner in an id; a uid has 36 characters.
const OWNER_CHARS_MAX: usize = 64;

/// What a variant holds, without its name, which is the record's reason.
fn members(kind: Value) -> Value {
    match kind {
        Value::Object(variant) if variant.len() == 1 => {
            variant.into_iter().map(|(_, held)| held).collect::<Vec<_>>().pop().unwrap_or_default()
        }
        other => other,
    }
}

/// Whether an entry of a step that has to do with a rollback is about that rollback.
fn of_rollback(kind: &Kind) -> bool {
    !matches!(kind, Kind::AnalysisEnded { verdict: Verdict::Healthy | Verdict::Inconclusive(_), .. })
}

fn subject(scene: &Scene<'_>) -> Subject {
    let application = scene.application();
    Subject {
        namespace: scene.key.namespace.clone(),
        name: scene.key.name.clone(),
        uid: scene.uid.to_owned(),
        project: application.map(|application| application.project.clone()),
        destination: application.map(|application| Destination {
            cluster: secrets::hidden(&application.destination_cluster),
            namespace: application.destination_namespace.clone(),
        }),
    }
}

/// The policy as a record names it; its text only where something was done because of it.
fn policy(policy: &Policy, with_text: bool) -> PolicyUsed {
    let no_headers = std::collections::BTreeMap::new();
    let headers = policy.prometheus.as_ref().map_or(&no_headers, |prometheus| &prometheus.headers);
    let text = with_text.then(|| secrets::without_headers(&policy.text, headers.iter())).flatten();
    PolicyUsed {
        name: policy.name.clone(),
        hash: Digest::of(policy.text.as_bytes()),
        text: text.map(|text| secrets::hidden(&text)),
    }
}

/// The record of records that had to go since there was no room for them.
pub fn dropped(
    key: &AppKey,
    uid: &str,
    cluster: &str,
    by: &Recorder,
    now: Timestamp,
    count: u64,
    dropped: &Dropped,
) -> Record {
    let Dropped { count: gone, routine, since } = dropped;
    Record {
        id: id(now, uid, count),
        at: now,
        reason: "RecordsDropped".to_owned(),
        sentence: format!(
            "{gone} records are lost, {routine} of them of analyses without consequence: the ledger took none since {since}, and there was no more room for them"
        ),
        warning: true,
        cluster: cluster.to_owned(),
        application: Some(Subject {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: uid.to_owned(),
            project: None,
            destination: None,
        }),
        rollback: None,
        by: by.clone(),
        policy: None,
        detail: json!({ "count": gone, "routine": routine, "since": since }),
        evidence: None,
        inputs: None,
    }
}

#[cfg(test)]
mod tests;
