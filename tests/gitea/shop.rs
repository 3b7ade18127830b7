//! A repository at the one Gitea of all tests, with a branch that nobody may push to.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use lastgood::act::forge::{Forge, Proposal, Tended};
use lastgood::act::git::{Access, Auth, Secret};
use lastgood::engine::forge::{ForgeKind, ForgeRules};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::gitea::{ADMIN, Gitea};
use crate::rundir::Parts;

/// The organisation that owns the repositories.
pub(crate) const OWNER: &str = "acme";
/// How long Gitea may take for what it does in the background.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
/// What lastgood is called there: it may write, but not to a protected branch.
pub(crate) const BOT: &str = "bot";

/// Gitea, with what all tests share: an organisation with a label and a team, and three people.
pub(crate) fn gitea() -> (&'static Runtime, &'static Arc<Gitea>) {
    static GITEA: OnceLock<(Runtime, Arc<Gitea>)> = OnceLock::new();
    let (runtime, gitea) = GITEA.get_or_init(|| {
        lastgood::act::git::Git::init().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // The kernel ends Gitea with the thread that started it, and threads of tests end early.
        let (tell, told) = mpsc::channel();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || {
            tell.send(handle.block_on(start())).unwrap();
            loop {
                std::thread::park();
            }
        });
        (runtime, told.recv().unwrap().unwrap())
    });
    (runtime, gitea)
}

async fn start() -> anyhow::Result<Arc<Gitea>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gitea");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let gitea = Gitea::start(&Parts::from_env()?, &dir).await?;
    for person in [BOT, "ann", "bob"] {
        gitea.person(person).await?;
    }
    gitea.admin(Method::POST, "/orgs", json!({ "username": OWNER })).await?;
    gitea.admin(Method::POST, "/orgs/acme/labels", json!({ "name": "urgent", "color": "#ff0000" })).await?;
    let team = json!({ "name": "sre", "permission": "write", "units": ["repo.code", "repo.pulls", "repo.issues"], "includes_all_repositories": true });
    let team = gitea.admin(Method::POST, "/orgs/acme/teams", team).await?;
    for person in [BOT, "ann"] {
        gitea.admin(Method::PUT, &format!("/teams/{}/members/{person}", team["id"]), Value::Null).await?;
    }
    Ok(gitea)
}

/// One repository.
pub(crate) struct Shop {
    pub(crate) name: &'static str,
    dir: tempfile::TempDir,
}

impl Shop {
    /// A repository with a good and a bad commit on `main`, which is protected as `protection` says beside.
    pub(crate) fn new(name: &'static str, protection: Value) -> Self {
        let shop = Self { name, dir: tempfile::tempdir().unwrap() };
        shop.admin(Method::POST, "/orgs/acme/repos", json!({ "name": name, "default_branch": "main" }));
        shop.git(&["init", "-q", "-b", "main"]);
        for (version, message) in [("1", "shop: 1.0"), ("2", "shop: 2.0")] {
            std::fs::create_dir_all(shop.dir.path().join("apps/shop")).unwrap();
            std::fs::write(shop.dir.path().join("apps/shop/version"), version).unwrap();
            shop.git(&["add", "."]);
            shop.git(&["commit", "-q", "-m", message]);
        }
        shop.push("main");
        let mut rules = json!({ "rule_name": "main", "enable_push": false });
        rules.as_object_mut().unwrap().extend(protection.as_object().unwrap().clone());
        shop.admin(Method::POST, &format!("{}/branch_protections", shop.at()), rules);
        shop
    }

    /// The repository's path in the API.
    pub(crate) fn at(&self) -> String {
        format!("/repos/{OWNER}/{}", self.name)
    }

    pub(crate) fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let (runtime, gitea) = gitea();
        runtime.block_on(gitea.admin(method, path, body)).unwrap()
    }

    pub(crate) fn call_as_bot(&self, method: Method, path: &str, body: Value) {
        let (runtime, gitea) = gitea();
        runtime.block_on(gitea.call(BOT, method, path, body)).map(drop).unwrap();
    }

    /// Runs `git` in a working tree of it.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(self.dir.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Pushes the current commit to a branch, as the administrator.
    pub(crate) fn push(&self, branch: &str) {
        let url = gitea().1.repository_for(ADMIN, &format!("{OWNER}/{}", self.name));
        self.git(&["push", "-q", &url, &format!("HEAD:refs/heads/{branch}")]);
    }

    /// How lastgood reaches it.
    pub(crate) fn access(&self) -> Access {
        let gitea = gitea().1;
        let mut access = Access::new(&gitea.repository(&format!("{OWNER}/{}", self.name)));
        access.auth = Auth::Basic { username: BOT.into(), password: Secret::new(crate::gitea::PASSWORD) };
        access
    }

    pub(crate) fn forge_with(&self, access: &Access) -> Forge {
        let rules = ForgeRules { kind: Some(ForgeKind::Gitea), ..ForgeRules::default() };
        Forge::new(&access.url, &rules, access).unwrap()
    }

    pub(crate) fn tend(&self, proposal: &Proposal, complete: bool) -> Tended {
        gitea().0.block_on(self.forge_with(&self.access()).tend(proposal, complete)).unwrap()
    }

    /// A revert of the bad commit on a side branch of its own, and its proposal.
    pub(crate) fn propose(&self) -> Proposal {
        let good = "Revert \"shop: 2.0\"\n\nThis reverts commit 1.\n\nLastgood-Rollback: acme-shop-1";
        self.git(&["checkout", "-q", "-b", "side", "main"]);
        std::fs::write(self.dir.path().join("apps/shop/version"), "1").unwrap();
        self.git(&["commit", "-q", "-a", "-m", good]);
        let commit = self.git(&["rev-parse", "HEAD"]);
        let branch = format!("lastgood/argocd-{}-1", self.name);
        self.push(&branch);
        Proposal::new("main", &branch, &commit, good)
    }

    /// Merges a pull request, once Gitea has looked whether it can be.
    pub(crate) fn merge(&self, number: u64, how: &str) {
        let (runtime, gitea) = gitea();
        let (path, start) = (format!("{}/pulls/{number}/merge", self.at()), Instant::now());
        while let Err(error) = runtime.block_on(gitea.admin(Method::POST, &path, json!({ "Do": how }))) {
            assert!(start.elapsed() < WAIT_MAX && error.to_string().contains("try again later"), "{error}");
        }
    }

    /// All pull requests, in Gitea's own words.
    pub(crate) fn pull_requests(&self) -> Vec<Value> {
        let all = self.admin(Method::GET, &format!("{}/pulls?state=all", self.at()), Value::Null);
        all.as_array().unwrap().clone()
    }
}
