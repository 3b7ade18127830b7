//! Which policy, which application and which syncs are meant.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use super::Replay;
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

/// The namespace of Application objects, and of Secrets, where nobody says otherwise.
pub(super) const ARGOCD: &str = "argocd";

/// Reads a time: RFC 3339, or Unix seconds.
pub(in crate::cli) fn time(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let time = match text.parse::<f64>() {
        #[allow(clippy::cast_possible_truncation, reason = "Prometheus' times have milliseconds")]
        Ok(seconds) => Timestamp::from_millisecond((seconds * 1000.0).round() as i64),
        Err(_) => text.parse::<Timestamp>().and_then(|at| Timestamp::from_millisecond(at.as_millisecond())),
    };
    time.map_err(|_| "write it as RFC 3339, like `2026-11-20T10:00:00Z`, or as seconds since 1970".to_owned())
}

/// Whose syncs are pretended, and who knows their history.
#[derive(Args, Debug)]
pub(in crate::cli) struct Subject {
    /// The Prometheus to ask instead of the policy's own, without the policy's credentials.
    #[arg(long, value_name = "URL", value_parser = url)]
    prometheus: Option<String>,
    /// The application, for `{{ application }}`; for `replay --last` the one whose syncs are replayed, as `NAME` or
    /// `NAMESPACE/NAME`. By default the one that the policy names.
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// What was synced, for `{{ revision }}`.
    #[arg(long, value_name = "REV")]
    revision: Option<String>,
    /// What ran before, for `{{ revision }}` in the look at the time before; by default the same as `--revision`.
    #[arg(long, value_name = "REV", requires = "revision")]
    last_good: Option<String>,
    /// A value for a placeholder of the queries, `namespace` or one of the policy's variables; may be given several
    /// times. `namespace` is the application's name by default.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = crate::cli::assignment)]
    set: Vec<(String, String)>,
    /// How long the server may take for one range query.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(in crate::cli) timeout: Duration,
}

/// What is to be replayed.
pub(in crate::cli) struct Task {
    pub(in crate::cli) policy: Policy,
    pub(in crate::cli) syncs: Vec<Pretence>,
}

/// Reads a Prometheus' address. Errors show it, so it must hold no password.
fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        None => Err("write it with its protocol, like `http://prometheus:9090`".to_owned()),
        Some(rest) if rest.split('/').next().is_some_and(|host| host.contains('@')) => {
            Err("it must hold no user name and no password".to_owned())
        }
        Some(_) => Ok(text.trim_end_matches('/').to_owned()),
    }
}

/// Finds out what is to be replayed.
pub(super) async fn task(replay: &Replay) -> anyhow::Result<Task> {
    let when = &replay.when;
    let set = PolicySet::load(&replay.policy).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    if let Some(last) = when.last {
        return last_syncs(&replay.subject, &set, last).await;
    }
    replay.subject.task(&set, |policy| match (when.at, when.from, when.to, when.every) {
        (Some(at), ..) => Ok(vec![at]),
        (None, Some(from), Some(to), Some(every)) => times(from, to, every, policy.interval),
        _ => bail!("say which time is meant: --at, --from with --to and --every, or --last"),
    })
}

impl Subject {
    /// The Prometheus to ask instead of the policy's own.
    pub(in crate::cli) fn prometheus(&self) -> Option<&str> {
        self.prometheus.as_deref()
    }

    /// The application that was named.
    pub(in crate::cli) fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    /// A sync at each of these times, which may depend on the one policy.
    pub(in crate::cli) fn task(
        &self,
        set: &PolicySet,
        times: impl FnOnce(&Policy) -> anyhow::Result<Vec<Timestamp>>,
    ) -> anyhow::Result<Task> {
        let mut all = set.iter();
        let (Some(loaded), None) = (all.next(), all.next()) else {
            bail!("--policy holds {} policies; name the file of one", set.len());
        };
        let mut policy = Policy::clone(&loaded.policy);
        let named = Named::of(self, &loaded.selector, &mut policy)?;
        let sync = |at| {
            let pretence = Pretence::new(at, named.app.clone(), named.namespace.clone());
            match &named.revisions {
                Some((revisions, last_good)) => {
                    Pretence { revisions: revisions.clone(), last_good: last_good.clone(), ..pretence }
                }
                None => pretence,
            }
        };
        let syncs = times(&policy)?.into_iter().map(sync).collect();
        ready(self, policy, syncs)
    }
}

/// The times of the pretended syncs of a range.
pub(in crate::cli) fn times(
    from: Timestamp,
    to: Timestamp,
    every: Duration,
    interval: Duration,
) -> anyhow::Result<Vec<Timestamp>> {
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
    fn of(subject: &Subject, selector: &Selector, policy: &mut Policy) -> anyhow::Result<Self> {
        set_variables(subject, policy)?;
        let set =
            |name: &str| subject.set.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let selected =
            selector.name.as_ref().filter(|_| selector.is_exact()).map(|name| name.as_str().to_owned());
        let given = set("application").or_else(|| subject.application.clone());
        if given.is_none() && selected.is_none() && asks_for(policy, "application") {
            bail!(
                "the policy does not name one application, and its queries ask for {{{{ application }}}}: give --application"
            );
        }
        let given = given.or(selected).unwrap_or_else(|| policy.name.clone());
        let app = key(&given);
        let revision = set("revision").or_else(|| subject.revision.clone());
        if revision.is_none() && asks_for(policy, "revision") {
            bail!(
                "the queries ask for {{{{ revision }}}}: give --revision, and --last-good for what ran before"
            );
        }
        let revisions = revision.map(|new| {
            let old = subject.last_good.clone().unwrap_or_else(|| new.clone());
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

fn set_variables(subject: &Subject, policy: &mut Policy) -> anyhow::Result<()> {
    for (name, value) in &subject.set {
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
    policy.asked().any(|slo| slo.names().any(|one| one == name))
}

/// Sees to what all need: queries, and somebody to ask.
fn ready(subject: &Subject, mut policy: Policy, syncs: Vec<Pretence>) -> anyhow::Result<Task> {
    if policy.slos.is_empty() {
        bail!("the policy `{}` has no slos, and nothing else is recorded", policy.name);
    }
    if let Some(url) = &subject.prometheus {
        policy.prometheus = policy.prometheus.map(|own| crate::cli::elsewhere(own, url));
    }
    Ok(Task { policy, syncs })
}

/// The newest syncs in Argo CD's history.
async fn last_syncs(subject: &Subject, set: &PolicySet, last: usize) -> anyhow::Result<Task> {
    let app = key(subject.application.as_deref().unwrap_or_default());
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
    set_variables(subject, &mut policy)?;
    let syncs = pretences(&facts, last);
    if syncs.is_empty() {
        bail!("Argo CD's history of {app} has no sync");
    }
    ready(subject, policy, syncs)
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
