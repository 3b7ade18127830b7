//! Carries one action out and turns its outcome into an event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use tracing::{info, warn};

use super::{Shared, propose};
use crate::act::argocd::{self, Terminated};
use crate::act::git::sign::{self, NoKey};
use crate::act::git::{Access, Identity, KeyText, SignError, Signer, credentials};
use crate::engine::action::{Action, MeasureOrder, RelateOrder, RevertOrder, RevertOutcome};
use crate::engine::event::Event;
use crate::engine::facts::AppKey;
use crate::engine::policy::{GitRules, Policy};

/// How long one revert may take, from the fetch to the server's answer. Less than
/// [`REVERT_ANSWER_MAX`](crate::engine::decide::REVERT_ANSWER_MAX), after which it is asked for again.
const REVERT_MAX: Duration = Duration::from_secs(60);

/// How long a question to Git may take.
const RELATE_MAX: Duration = Duration::from_secs(60);

/// Carries `action` out; the answer, where it has one.
pub(super) async fn perform(
    shared: Arc<Shared>,
    app: AppKey,
    policy: Arc<Policy>,
    action: Action,
) -> Option<Event> {
    match action {
        Action::Measure(order) => measure(&shared, &policy, order).await,
        Action::Revert(order) => {
            let mut order = order;
            shared.fleet().introduce(&mut order);
            let rollback = order.rollback.clone();
            let outcome = revert(&shared, &policy, *order).await;
            Some(Event::Reverted { rollback, outcome })
        }
        Action::Withdraw(order) => Some(propose::withdraw(&shared, &policy, *order).await),
        Action::Relate(order) => Some(Event::Related(relate(&shared, &policy, order).await)),
        Action::Refresh { app } => {
            if let Err(error) = argocd::refresh(&shared.clients.request, &app).await {
                warn!(application = %app, %error, "Argo CD could not be asked to refresh; asked again soon.");
            }
            None
        }
        Action::Terminate { started_at } => {
            match argocd::terminate(&shared.clients.request, &app, started_at).await {
                Ok(Terminated::Asked) => info!(application = %app, "The stuck sync is being terminated."),
                Ok(Terminated::NotRunning) => {
                    info!(application = %app, "The stuck sync had ended by itself.");
                }
                Err(error) => warn!(application = %app, %error, "The stuck sync could not be terminated."),
            }
            None
        }
    }
}

async fn measure(shared: &Shared, policy: &Policy, order: MeasureOrder) -> Option<Event> {
    // A policy with SLOs has a Prometheus: it is refused otherwise.
    let prometheus = policy.prometheus.as_ref()?;
    let answers = shared.slos.measure(&order, prometheus, Timestamp::now(), policy.interval).await;
    Some(Event::Measured { round: order.round, answers })
}

/// How to reach a repository.
pub(super) async fn access(
    shared: &Shared,
    policy: &Policy,
    repo_url: &str,
    project: &str,
) -> Result<Access, String> {
    let (client, namespace) = (&shared.clients.request, &shared.argocd_namespace);
    credentials::resolve(client, namespace, repo_url, project, policy.git.secret.as_deref())
        .await
        .map_err(|error| error.to_string())
}

/// The key that commits are to be signed with, or what is wrong with it; an error means that this is not known.
pub(super) async fn signing_key(
    client: &Client,
    argocd_namespace: &str,
    git: &GitRules,
) -> Result<Option<Result<KeyText, SignError>>, String> {
    let Some(name) = &git.signing_secret else { return Ok(None) };
    match sign::from_secret(client, argocd_namespace, name).await {
        Ok(text) => Ok(Some(Ok(text))),
        // A revert that is on the branch already needs no key, so it is still looked for.
        Err(NoKey::Missing(error)) => Ok(Some(Err(error))),
        Err(error @ NoKey::Unreadable { .. }) => Err(error.to_string()),
    }
}

async fn revert(shared: &Arc<Shared>, policy: &Policy, order: RevertOrder) -> RevertOutcome {
    let mut accesses = Vec::with_capacity(order.parts.len());
    for part in &order.parts {
        match access(shared, policy, &part.repo_url, &order.project).await {
            Ok(access) => accesses.push(access),
            Err(error) => return RevertOutcome::Failed { error },
        }
    }
    let key = match signing_key(&shared.clients.request, &shared.argocd_namespace, &policy.git).await {
        Ok(key) => key,
        Err(error) => return RevertOutcome::Failed { error },
    };
    let (name, email) = (policy.git.author_name.clone(), policy.git.author_email.clone());
    let git = Arc::clone(&shared.git);
    let asked = order.clone();
    let work = move || {
        let (now, deadline) = (Timestamp::now(), Instant::now() + REVERT_MAX);
        let signer = key.map(|key| key.and_then(|text| Signer::read(&text, now)));
        git.propose(&asked, &accesses, &Identity { name, email, signer }, now, deadline)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok((RevertOutcome::Proposed(proposed), asides)) => {
            propose::tend(shared, policy, &order, *proposed, asides).await
        }
        Ok((outcome, _)) => outcome,
        Err(error) => RevertOutcome::Failed { error: format!("the revert was broken off: {error}") },
    }
}

async fn relate(
    shared: &Arc<Shared>,
    policy: &Policy,
    order: RelateOrder,
) -> Result<crate::engine::action::Relation, String> {
    let access = access(shared, policy, &order.repo_url, &order.project).await?;
    let git = Arc::clone(&shared.git);
    let work = move || git.relate(&order, &access, Instant::now() + RELATE_MAX);
    let related = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    related.map_err(|error| {
        warn!(%error, "Two revisions could not be compared; asked again soon.");
        error.to_string()
    })
}
