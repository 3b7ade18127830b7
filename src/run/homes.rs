//! The repository whose branch keeps an application's ledger, and how it is reached.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::runtime::Handle;

use super::perform;
use crate::act::git::ledger::GitLedger;
use crate::act::git::{Access, GitError, Identity, Signer, credentials};
use crate::engine::facts::{ApplicationFacts, SourceKind};
use crate::engine::fleet::repository;
use crate::engine::forge::ForgeRules;
use crate::engine::policy::{GitRules, Mode, Policy};

/// How long one append may take: it waits for nobody's rollback, and a first copy of a branch with years of records takes its time.
const APPEND_MAX: Duration = Duration::from_secs(120);

/// Where a ledger is, and by whose rules it is pushed.
#[derive(Clone)]
pub(super) struct Home {
    repo_url: String,
    /// The `AppProject`, for Argo CD's choice of credentials.
    project: String,
    git: GitRules,
}

impl Home {
    /// The repository of an application's first Git source; none where it has none, or where nothing may be pushed there.
    pub(super) fn of(facts: &ApplicationFacts, policy: &Policy) -> Option<Self> {
        if policy.mode == Mode::DryRun {
            return None;
        }
        // What a hydrator writes is undone where it renders from.
        let sources =
            facts.dry.as_ref().map_or(facts.sources.as_slice(), |dry| std::slice::from_ref(&dry.source));
        let source = sources.iter().find(|source| matches!(source.kind, SourceKind::Git { .. }))?;
        Some(Self {
            repo_url: source.repo_url.clone(),
            project: facts.project.clone(),
            git: policy.git.clone(),
        })
    }

    /// A repository that an operator named; Argo CD's credentials for it are taken.
    pub(super) fn at(repo_url: &str) -> Self {
        let git = GitRules {
            secret: None,
            forge: ForgeRules::default(),
            author_name: "lastgood".to_owned(),
            author_email: "lastgood@localhost".to_owned(),
            signing_secret: None,
        };
        Self { repo_url: repo_url.to_owned(), project: String::new(), git }
    }

    /// The same for every way to write the URL.
    pub(super) fn key(&self) -> String {
        repository(&self.repo_url)
    }
}

/// How a ledger's repository is reached now: as the policy of the newest application says that had records for it.
pub(super) type Means = Arc<Mutex<Home>>;

/// Where credentials come from, and copies are kept.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) argocd_namespace: String,
    pub(super) cluster: String,
}

impl Place {
    /// The ledger on a branch of that repository.
    ///
    /// # Errors
    /// When there is no room for a copy of it.
    pub(super) fn ledger(&self, means: &Means, cache: &Path) -> Result<GitLedger, GitError> {
        let home = current(means);
        let (place, means, runtime) = (self.clone(), Arc::clone(means), Handle::current());
        // Called where blocking is allowed.
        let reach = move || runtime.block_on(place.reach(&current(&means)));
        GitLedger::new(cache, &home.repo_url, &self.cluster, APPEND_MAX, Box::new(reach))
    }

    async fn reach(&self, home: &Home) -> Result<(Access, Identity), String> {
        let Home { repo_url, project, git } = home;
        let (client, namespace) = (&self.client, &self.argocd_namespace);
        let access = credentials::resolve(client, namespace, repo_url, project, git.secret.as_deref())
            .await
            .map_err(|error| error.to_string())?;
        let key = perform::signing_key(client, namespace, git).await?;
        let signer = key.map(|key| key.and_then(|text| Signer::read(&text, Timestamp::now())));
        let (name, email) = (git.author_name.clone(), git.author_email.clone());
        Ok((access, Identity { name, email, signer }))
    }
}

fn current(means: &Means) -> Home {
    means.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
