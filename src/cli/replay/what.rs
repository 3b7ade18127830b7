//! Which policy, which application and which syncs are meant.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::{Replay, Task};
use crate::cluster::Clients;
use crate::engine::facts::{AppKey, ApplicationFacts, Revision, Revisions};
use crate::engine::policy::Policy;
use crate::engine::template::BUILT_IN;
use crate::engine::time::later;
use crate::observe::argocd;
use crate::policy::{Match, PolicySet, Selector};
use crate::replay::Pretence;

/// Pretended syncs of one replay: past it the step between them is a slip.
const SYNCS_MAX: u128 = 200_000;

/// The namespace of Application objects where nobody says otherwise.
const ARGOCD: &str = "argocd";

/// Reads a time: RFC 3339, or Unix seconds.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let time = match text.parse::<f64>() {
        #[allow(clippy::cast_possible_truncation, reason = "Prometheus' times have milliseconds")]
        Ok(seconds) => Timestamp::from_millisecond((seconds * 1000.0).round() as i64),
        Err(_) => text.parse::<Timestamp>().and_then(|at| Timestamp::from_millisecond(at.as_millisecond())),
    };
    time.map_err(|_| "write it as RFC 3339, like `2026-11-20T10:00:00Z`, or as seconds since 1970".to_owned())
}

/// Finds out what is to be replayed.
pub(super) async fn task(replay: &Replay) -> anyhow::Result<Task> {
    let set = PolicySet::load(&replay.policy).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    if let Some(last) = replay.when.last {
        return last_syncs(replay, &set, last).await;
    }
    let mut all = set.iter();
    let (Some(loaded), None) = (all.next(), all.next()) else {
        bail!("{} holds {} policies; name the file of one", replay.policy.display(), set.len());
    };
    let mut policy = Policy::clone(&loaded.policy);
    let named = Named::of(replay, &loaded.selector, &mut policy)?;
    let sync = |at| {
        let pretence = Pretence::new(at, named.app.clone(), named.namespace.clone());
        match &named.revisions {
            Some((revisions, last_good)) => {
                Pretence { revisions: revisions.clone(), last_good: last_good.clone(), ..pretence }
            }
            None => pretence,
        }
    };
    let syncs = times(replay, policy.interval)?.into_iter().map(sync).collect();
    ready(replay, policy, syncs)
}

/// The times of the pretended syncs.
fn times(replay: &Replay, interval: Duration) -> anyhow::Result<Vec<Timestamp>> {
    let when = &replay.when;
    if let Some(at) = when.at {
        return Ok(vec![at]);
    }
    let (Some(from), Some(to), Some(every)) = (when.from, when.to, when.every) else {
        bail!("say which time is meant: --at, --from with --to and --every, or --last");
    };
    if from > to {
        bail!("--from {from} is later than --to {to}");
    }
    // On one grid all syncs share one answer for each query.
    let step = interval.as_millis().max(1);
    let every = (every.as_millis() + step / 2) / step * step;
    let every = every.max(step);
    let span = u128::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or_default();
    let count = span / every + 1;
    if count > SYNCS_MAX {
        bail!("{count} pretended syncs are too many, at most {SYNCS_MAX}; lengthen --every");
    }
    let at = |k: u128| {
        let offset = u64::try_from(k * every).unwrap_or(u64::MAX);
        later(from, Duration::from_millis(offset))
    };
    Ok((0..count).map(at).collect())
}

/// What the placeholders stand for.
struct Named {
    app: AppKey,
    namespace: String,
    revisions: Option<(Revisions, Revisions)>,
}

impl Named {
    /// Takes what is given, else what the policy's own selector says; variables go into the policy.
    fn of(replay: &Replay, selector: &Selector, policy: &mut Policy) -> anyhow::Result<Self> {
        set_variables(replay, policy)?;
        let set =
            |name: &str| replay.set.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let selected =
            selector.name.as_ref().filter(|_| selector.is_exact()).map(|name| name.as_str().to_owned());
        let given = set("application").or_else(|| replay.application.clone());
        if given.is_none() && selected.is_none() && asks_for(policy, "application") {
            bail!(
                "the policy does not name one application, and its queries ask for {{{{ application }}}}: give --application"
            );
        }
        let given = given.or(selected).unwrap_or_else(|| policy.name.clone());
        let app = key(&given);
        let revision = set("revision").or_else(|| replay.revision.clone());
        if revision.is_none() && asks_for(policy, "revision") {
            bail!(
                "the queries ask for {{{{ revision }}}}: give --revision, and --last-good for what ran before"
            );
        }
        let revisions = revision.map(|new| {
            let old = replay.last_good.clone().unwrap_or_else(|| new.clone());
            (Revisions::from(Revision::new(new)), Revisions::from(Revision::new(old)))
        });
        let namespace = set("namespace").unwrap_or_else(|| app.name.clone());
        Ok(Self { app, namespace, revisions })
    }
}

fn key(text: &str) -> AppKey {
    let (namespace, name) = text.split_once('/').unwrap_or((ARGOCD, text));
    AppKey::new(namespace, name)
}

fn set_variables(replay: &Replay, policy: &mut Policy) -> anyhow::Result<()> {
    for (name, value) in &replay.set {
        if let Some(variable) = policy.variables.get_mut(name) {
            variable.clone_from(value);
        } else if !BUILT_IN.contains(&name.as_str()) {
            let known: Vec<&str> =
                BUILT_IN.into_iter().chain(policy.variables.keys().map(String::as_str)).collect();
            bail!("--set {name}: the policy has no such variable; it knows {}", known.join(", "));
        }
    }
    Ok(())
}

fn asks_for(policy: &Policy, name: &str) -> bool {
    policy.slos.iter().any(|slo| slo.query.names().any(|one| one == name))
}

/// Sees to what all need: queries, and somebody to ask.
fn ready(replay: &Replay, mut policy: Policy, syncs: Vec<Pretence>) -> anyhow::Result<Task> {
    if policy.slos.is_empty() {
        bail!("the policy `{}` has no slos, and nothing else is recorded", policy.name);
    }
    if let Some(url) = &replay.prometheus {
        policy.prometheus = policy.prometheus.map(|own| crate::cli::elsewhere(own, url));
    }
    Ok(Task { policy, syncs })
}

/// The newest syncs in Argo CD's history.
async fn last_syncs(replay: &Replay, set: &PolicySet, last: usize) -> anyhow::Result<Task> {
    let app = key(replay.application.as_deref().unwrap_or_default());
    let clients = Clients::infer().await?;
    let facts = argocd::read(&clients.request, &app).await?;
    let facts = facts.with_context(|| format!("there is no Application {app}"))?;
    let policy = match set.for_application(&facts) {
        Match::One(policy) => policy,
        Match::None => match set.iter().collect::<Vec<_>>().as_slice() {
            // A policy that is tried out need not select it yet.
            [only] => Arc::clone(&only.policy),
            _ => bail!("no policy selects {app}"),
        },
        Match::Ambiguous(names) => bail!("several policies claim {app}: {}", names.join(", ")),
    };
    let mut policy = Policy::clone(&policy);
    set_variables(replay, &mut policy)?;
    let syncs = pretences(&facts, last);
    if syncs.is_empty() {
        bail!("Argo CD's history of {app} has no sync");
    }
    ready(replay, policy, syncs)
}

/// The newest syncs, oldest first, each after the one before it.
fn pretences(facts: &ApplicationFacts, last: usize) -> Vec<Pretence> {
    let history = &facts.history;
    let skipped = history.len().saturating_sub(last);
    let numbered = history.iter().enumerate().skip(skipped);
    numbered
        .map(|(i, entry)| {
            let before = i.checked_sub(1).and_then(|i| history.get(i)).unwrap_or(entry);
            let began = entry.started_at.unwrap_or(entry.deployed_at);
            let took = entry.deployed_at.duration_since(began);
            Pretence {
                took: Duration::try_from(took).unwrap_or_default(),
                revisions: entry.revisions.clone(),
                last_good: before.revisions.clone(),
                ..Pretence::new(began, facts.app.clone(), facts.destination_namespace.clone())
            }
        })
        .collect()
}
