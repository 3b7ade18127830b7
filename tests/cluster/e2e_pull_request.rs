//! A branch that takes no pushes, at a real forge: the rollback is proposed, a person merges it, and it is live.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::AppSpec;
use crate::gitea::{ADMIN, Gitea};
use crate::kubernetes::text;
use crate::manifests::web;
use crate::rundir::Parts;
use crate::scenario::Scenario;
use crate::story::{
    File, QUIET, Shop, check_rollback, deploy, last_good_object, policy, wait_last_good, wait_recovered,
};
use crate::wait::{stays, wait_until};

/// What lastgood is called at the forge: it may write, but not to the branch.
const BOT: &str = "bot";
/// The repository.
const PATH: &str = "boss/shop";
/// How long a verdict, a push that is refused and a pull request may take on a busy machine.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(120);
/// The same for a merge to be seen: the forge is asked every 30 s.
const MERGE_TIMEOUT: Duration = Duration::from_secs(90);

/// The daemon may not push to the branch: it opens one pull request, also if it dies, and confirms what is merged.
pub(crate) async fn pull_request(scenario: &Scenario) -> Result<()> {
    // On the scenario's own thread, so that it ends with the scenario.
    let gitea = Gitea::start(&Parts::from_env()?, &scenario.dir().join("gitea")).await?;
    let shop = open(scenario, &gitea).await?;
    let bad = shop.release("missing").await?;
    shop.app.wait_live(&bad).await?;
    let live = Timestamp::now();

    let proposed = wait_until("a pull request", PROPOSE_TIMEOUT, async || one_open(&gitea).await).await?;
    let opened = Timestamp::now();
    for (what, wanted) in
        [("/base/ref", "main"), ("/user/login", BOT), ("/title", "Revert \"Release missing\"")]
    {
        ensure!(text(&proposed, what) == wanted, "its {what} is `{}`", text(&proposed, what));
    }
    ensure!(text(&proposed, "/body").contains("Lastgood-Rollback: "), "{}", text(&proposed, "/body"));
    wait_until("its label", PROPOSE_TIMEOUT, async || {
        ensure!(text(&one_open(&gitea).await?, "/labels/0/name") == "rollback", "there is none");
        Ok(())
    })
    .await?;
    wait_until("the state to tell", PROPOSE_TIMEOUT, async || {
        let object = last_good_object(&shop.app).await?;
        ensure!(text(&object, "/status/summary/phase") == "Proposed", "{object:#}");
        Ok(())
    })
    .await?;

    // The next daemon adopts what this one opened.
    shop.daemon.kill()?;
    shop.daemon.start_again().await?;
    stays("there is exactly one pull request", QUIET, async || one_open(&gitea).await.map(drop)).await?;
    ensure!(shop.repository.developer.rollbacks().await?.is_empty(), "the branch was changed");

    let number = proposed.pointer("/number").and_then(Value::as_u64).context("it has no number")?;
    let merge = format!("/repos/{PATH}/pulls/{number}/merge");
    wait_until("the merge", PROPOSE_TIMEOUT, async || {
        gitea.admin(Method::POST, &merge, json!({ "Do": "merge" })).await
    })
    .await?;
    let merged = Timestamp::now();
    let rollbacks = shop.repository.developer.rollbacks().await?;
    let [rollback] = rollbacks.as_slice() else { anyhow::bail!("not one rollback: {rollbacks:?}") };
    check_rollback(rollback, &shop.app, &shop.daemon, &bad, &shop.good)?;
    let (revert_live, recovered) = wait_recovered(&shop.repository, &[&shop.app]).await?;
    wait_until("the journal to tell of the recovery", MERGE_TIMEOUT, async || {
        let said = |reason: &str| {
            let log = shop.daemon.log();
            let told = log.iter().any(|line| text(line, "/fields/reason") == reason);
            told.then_some(()).with_context(|| format!("no {reason} in the daemon's log"))
        };
        said("PullRequestEnded").and_then(|()| said("Recovered"))
    })
    .await?;
    let after = |step: Timestamp| step.duration_since(live).as_secs_f64();
    println!(
        "{}: pull request {:+.1} s after the change was live, merged {:+.1} s, live {:+.1} s, recovered {:+.1} s",
        scenario.name,
        after(opened),
        after(merged),
        after(revert_live),
        after(recovered)
    );
    let branches = gitea.admin(Method::GET, &format!("/repos/{PATH}/branches"), Value::Null).await?;
    let is_side = |branch: &Value| {
        let name = text(branch, "/name");
        name != "main" && !name.starts_with("lastgood/ledger/")
    };
    ensure!(
        branches.as_array().is_some_and(|all| !all.iter().any(is_side)),
        "the side branch is left: {branches:#}"
    );
    Ok(())
}

/// The one pull request that there ever was, if it is open.
async fn one_open(gitea: &Gitea) -> Result<Value> {
    let all = gitea.admin(Method::GET, &format!("/repos/{PATH}/pulls?state=all"), Value::Null).await?;
    match all.as_array().map(Vec::as_slice) {
        Some([one]) if text(one, "/state") == "open" => Ok(one.clone()),
        _ => bail!("not one open pull request: {all:#}"),
    }
}

/// A shop whose branch only the administrator may push to.
async fn open(scenario: &Scenario, gitea: &Arc<Gitea>) -> Result<Shop> {
    gitea.person(BOT).await?;
    let repository = json!({ "name": "shop", "default_branch": "main" });
    gitea.admin(Method::POST, "/user/repos", repository).await?;
    let writer = json!({ "permission": "write" });
    gitea.admin(Method::PUT, &format!("/repos/{PATH}/collaborators/{BOT}"), writer).await?;
    let (url, developers) = (gitea.repository(PATH), gitea.repository_for(ADMIN, PATH));
    let account = (BOT, crate::gitea::PASSWORD);
    let repository = scenario.repository_at(&url, account, &PathBuf::from(developers)).await?;
    let app = scenario.application(&repository, AppSpec::new(&scenario.name, "app")).await?;
    let first = web(&app.name, "v1");
    let files: [File<'_>; 2] = [("README.md", Some("# A shop\n")), ("app/web.yaml", Some(&first))];
    deploy(&repository, &[&app], "Open the shop", &files).await?;
    let protection = json!({
        "rule_name": "main", "enable_push": true, "enable_push_whitelist": true, "push_whitelist_usernames": [ADMIN],
    });
    gitea.admin(Method::POST, &format!("/repos/{PATH}/branch_protections"), protection).await?;
    let mut policy = policy(scenario, &app);
    policy.forge = Some("gitea");
    let daemon = scenario.daemon("daemon", &[policy]).await?;
    let second = web(&app.name, "v2");
    let good = deploy(&repository, &[&app], "Release v2", &[("app/web.yaml", Some(&second))]).await?;
    wait_last_good(&app, &good).await?;
    Ok(Shop { repository, app, daemon, good })
}
