//! Pull requests for reverts: what Git put on side branches is brought to the forge.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::act::forge::{self, Forge, ForgeError, Proposal};
use crate::act::git::{Aside, credentials};
use crate::engine::action::{Delivery, Proposed, Refusal, RevertOrder, RevertOutcome};
use crate::engine::event::Event;
use crate::engine::forge::{ProposedPart, PullRequest, WithdrawOrder};
use crate::engine::policy::Policy;

/// How long the forge may take for one look; with what Git took before it is less than the engine waits.
const FORGE_MAX: Duration = Duration::from_secs(25);

/// Opens a pull request for each side branch, or looks what has become of it.
pub(super) async fn tend(
    shared: &Arc<Shared>,
    policy: &Policy,
    order: &RevertOrder,
    mut proposed: Proposed,
    asides: Vec<Aside>,
) -> RevertOutcome {
    let complete = order.mode == Delivery::PullRequest { complete: true };
    let work = async {
        for aside in asides {
            let forge = forge(shared, policy, &aside.repo_url, &order.project).await?;
            let rules = &policy.rollback.proposals;
            let (base, commit) = (&aside.part.branch, aside.part.revert.as_str());
            let mut proposal = Proposal::new(base, &aside.branch, commit, &aside.message);
            proposal.labels.clone_from(&rules.labels);
            proposal.reviewers.clone_from(&rules.reviewers);
            proposal.auto_merge = rules.auto_merge;
            let tended = forge.tend(&proposal, complete).await?;
            proposed.remarks.extend(tended.remarks);
            proposed.parts.push(ProposedPart {
                repo_url: aside.repo_url,
                base: aside.part.branch,
                branch: aside.branch,
                commit: aside.part.revert,
                pull_request: tended.pull_request,
            });
        }
        Ok(proposed)
    };
    match tokio::time::timeout(FORGE_MAX, work).await {
        Ok(Ok(proposed)) => RevertOutcome::Proposed(Box::new(proposed)),
        Ok(Err(Trouble::Forge(ForgeError::Unusable { repo_url, reason }))) => {
            let reason = format!("for `{repo_url}`: {reason}");
            RevertOutcome::Refused(Refusal::NoPullRequest { reason })
        }
        Ok(Err(trouble)) => RevertOutcome::Failed { error: trouble.to_string() },
        Err(_) => RevertOutcome::Failed { error: too_slow() },
    }
}

/// Closes what is needless.
pub(super) async fn withdraw(shared: &Arc<Shared>, policy: &Policy, order: WithdrawOrder) -> Event {
    let rollback = order.rollback.clone();
    let work = async {
        let mut ended: Vec<PullRequest> = Vec::new();
        for part in &order.parts {
            let forge = forge(shared, policy, &part.repo_url, &order.project).await?;
            let proposal = Proposal::new(&part.base, &part.branch, part.commit.as_str(), "");
            ended.extend(forge.withdraw(&proposal, &order.why).await?);
        }
        Ok::<_, Trouble>(ended)
    };
    let outcome = match tokio::time::timeout(FORGE_MAX, work).await {
        Ok(outcome) => outcome.map_err(|trouble| trouble.to_string()),
        Err(_) => Err(too_slow()),
    };
    Event::Withdrawn { rollback, outcome }
}

fn too_slow() -> String {
    format!("the forge did not answer within {} s", FORGE_MAX.as_secs())
}

/// Why a forge could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Credentials(#[from] credentials::CredentialsError),
}

/// The forge of a repository, with the token for it.
async fn forge(
    shared: &Arc<Shared>,
    policy: &Policy,
    repo_url: &str,
    project: &str,
) -> Result<Forge, Trouble> {
    let rules = &policy.git.forge;
    let page = forge::page(repo_url, rules)?;
    // A Secret for SSH is none for the forge.
    let is_http = repo_url.trim().to_lowercase().starts_with("http");
    let secret = rules.secret.as_deref().or(policy.git.secret.as_deref().filter(|_| is_http));
    let (client, namespace) = (&shared.clients.request, &shared.argocd_namespace);
    let access = credentials::resolve(client, namespace, &page, project, secret).await?;
    Ok(Forge::new(repo_url, rules, &access)?)
}
