//! The stack itself, without a daemon: what the other scenarios rely on is true.

use std::path::Path;

use anyhow::{Result, ensure};
use futures::FutureExt as _;

use crate::app::{App, AppSpec};
use crate::developer::{Developer, git};
use crate::git::{Account, Moment, READER, Then, WRITER};
use crate::kubernetes::text;
use crate::manifests::{CHART, deployment, migration, values};
use crate::scenario::{Repository, Scenario};
use crate::story::{ARGOCD_TIMEOUT, File, deploy};
use crate::wait::wait_until;

/// A good commit syncs; a missing image, a crash, a failing hook and failing requests show as in production; a
/// person's `git revert` brings everything back; the accounts of the Git server may do what they should.
pub(crate) async fn stack(scenario: &Scenario) -> Result<()> {
    let repository = scenario.repository().await?;
    accounts(scenario, &repository).await?;
    let app = scenario.application(&repository, AppSpec::new(&scenario.name, "app")).await?;
    let shop = Shop { scenario, repository, app };
    let good = shop.push("v1", "ok").await?;
    shop.app.wait_healthy(&good).await?;
    shop.wait_errors("none", |share| share < 0.001).await?;

    let bad = shop.push("missing", "ok").await?;
    shop.app.wait_live(&bad).await?;
    shop.wait_health("Progressing").await?;
    shop.wait_waiting("ImagePullBackOff").await?;
    // Argo CD says so only at the end of the progress deadline, which is short here.
    shop.wait_health("Degraded").await?;
    let revert = shop.revert(&bad).await?;
    let history = shop.app.history().await?;
    ensure!(history == [good, bad, revert.clone()], "the application's history is {history:?}");
    argocd_agrees(scenario, &shop.app, &revert).await?;

    let bad = shop.push("crash", "ok").await?;
    shop.wait_waiting("CrashLoopBackOff").await?;
    wait_until("the third restart", ARGOCD_TIMEOUT, async || {
        let restarts = shop.app.restarts().await?;
        ensure!(restarts >= 3, "{restarts} restarts so far");
        Ok(())
    })
    .await?;
    shop.revert(&bad).await?;

    let bad = shop.push("errors", "ok").await?;
    shop.app.wait_healthy(&bad).await?;
    shop.wait_errors("about 30 %", |share| (0.25..0.35).contains(&share)).await?;
    shop.revert(&bad).await?;
    shop.wait_errors("none", |share| share < 0.001).await?;

    // With a new image too: a change of nothing but a hook is no difference to Argo CD, and starts no sync.
    let bad = shop.push("v2", "fail").await?;
    shop.wait_operation_failed(&bad).await?;
    // Without this it would be tried again for minutes, even after the revert is compared and found in place.
    scenario.stack.argocd.cli(&["app", "terminate-op", &shop.app.name]).await?;
    shop.revert(&bad).await?;
    Ok(())
}

/// A Helm chart renders, a namespace is made, and what values take away is pruned and comes back.
pub(crate) async fn helm(scenario: &Scenario) -> Result<()> {
    let repository = scenario.repository().await?;
    let spec =
        AppSpec { target_revision: "HEAD", create_namespace: true, ..AppSpec::new("stack-helm", "chart") };
    let app = scenario.application(&repository, spec).await?;
    let with_banner = values("v1", true);
    let files = CHART.map(|(path, content)| (format!("chart/{path}"), content));
    let mut files: Vec<File<'_>> =
        files.iter().map(|(path, content)| (path.as_str(), Some(*content))).collect();
    files.push(("chart/values.yaml", Some(&with_banner)));
    deploy(&repository, &[&app], "Begin", &files).await?;
    app.config_map_uid("stack-helm-banner").await?;

    let without_banner = values("missing", false);
    let files: [File<'_>; 1] = [("chart/values.yaml", Some(&without_banner))];
    let bad = repository.developer.commit("Take the banner away", &files).await?;
    app.notify().await?;
    wait_until("the banner to be pruned", ARGOCD_TIMEOUT, async || {
        ensure!(app.config_map_uid("stack-helm-banner").await.is_err(), "it is still there");
        Ok(())
    })
    .await?;
    let revert = repository.developer.revert(&bad).await?;
    app.notify().await?;
    app.wait_healthy(&revert).await?;
    app.config_map_uid("stack-helm-banner").await?;
    argocd_agrees(scenario, &app, &revert).await
}

struct Shop<'a> {
    scenario: &'a Scenario,
    repository: Repository,
    app: App,
}

impl Shop<'_> {
    /// Pushes a version of the Deployment and one of the hook, and tells Argo CD.
    async fn push(&self, tag: &str, hook: &str) -> Result<String> {
        let web = deployment(&self.app.name, tag, 10);
        let job = migration(&self.app.name, hook);
        let files: [File<'_>; 2] = [("app/web.yaml", Some(&web)), ("app/migration.yaml", Some(&job))];
        let revision =
            self.repository.developer.commit(&format!("Release {tag}, hook {hook}"), &files).await?;
        self.app.notify().await?;
        Ok(revision)
    }

    async fn revert(&self, bad: &str) -> Result<String> {
        let revert = self.repository.developer.revert(bad).await?;
        self.app.notify().await?;
        self.app.wait_healthy(&revert).await?;
        Ok(revert)
    }

    async fn wait_health(&self, wanted: &str) -> Result<()> {
        wait_until(&format!("the health {wanted}"), ARGOCD_TIMEOUT, async || {
            let object = self.app.object().await?;
            let health = text(&object, "/status/health/status");
            ensure!(health == wanted, "it is {health}");
            Ok(())
        })
        .await
    }

    async fn wait_waiting(&self, wanted: &str) -> Result<()> {
        wait_until(&format!("a container that waits in {wanted}"), ARGOCD_TIMEOUT, async || {
            let reasons = self.app.waiting_reasons().await?;
            ensure!(reasons.iter().any(|reason| reason == wanted), "containers wait in {reasons:?}");
            Ok(())
        })
        .await
    }

    async fn wait_errors(&self, wanted: &str, is_wanted: impl Fn(f64) -> bool) -> Result<()> {
        let requests = format!(r#"http_requests_total{{app="{}""#, self.app.name);
        let share = format!(r#"sum(rate({requests},code=~"5.."}}[5s])) / sum(rate({requests}}}[5s]))"#);
        wait_until(&format!("the share of failed requests to be {wanted}"), ARGOCD_TIMEOUT, async || {
            let found = self.scenario.stack.prometheus.query(&share).await?;
            ensure!(found.is_some_and(&is_wanted), "it is {found:?}");
            Ok(())
        })
        .await
    }

    async fn wait_operation_failed(&self, revision: &str) -> Result<()> {
        wait_until("a sync that its hook made fail", ARGOCD_TIMEOUT, async || {
            let object = self.app.object().await?;
            let at = |pointer| text(&object, pointer);
            let tried = at("/status/operationState/syncResult/revision");
            let hooks = object.pointer("/status/operationState/syncResult/resources");
            let hooks = hooks.map(ToString::to_string).unwrap_or_default();
            ensure!(
                tried == revision && hooks.contains(r#""hookPhase":"Failed""#),
                "the operation for `{tried}` is {} with {hooks}",
                at("/status/operationState/phase")
            );
            Ok(())
        })
        .await
    }
}

/// Argo CD's own program sees the same: the revision is the last of the history, and nothing differs.
pub(crate) async fn argocd_agrees(scenario: &Scenario, app: &App, revision: &str) -> Result<()> {
    let history = scenario.stack.argocd.cli(&["app", "history", &app.name]).await?;
    let last = history.lines().last().unwrap_or_default();
    // It prints a short form of the revision.
    let short = revision.get(..7).unwrap_or_default();
    ensure!(last.contains(short), "`argocd app history` ends with `{last}`, not with {revision}");
    let diff = scenario.stack.argocd.diff(&app.name).await?;
    ensure!(diff.trim().is_empty(), "`argocd app diff` finds differences:\n{diff}");
    Ok(())
}

/// Strangers may not even read, the reader may not push, and nobody may rewrite the branch.
async fn accounts(scenario: &Scenario, repository: &Repository) -> Result<()> {
    let dir = &scenario.stack.dir;
    repository.developer.commit("Begin", &[("README.md", Some("# Shop\n"))]).await?;
    let refused = git(dir, &["ls-remote", &repository.url]).await;
    ensure!(refused.is_err(), "the server lets strangers read");

    let clone = dir.join("scenarios").join(&scenario.name).join("accounts");
    let path = clone.to_string_lossy();
    git(dir, &["clone", "--quiet", &address(repository, &READER), &path]).await?;
    git(&clone, &["commit", "--quiet", "--allow-empty", "-m", "Say nothing"]).await?;
    let refused = git(&clone, &["push", &address(repository, &READER), "HEAD:main"]).await;
    ensure!(refused.is_err(), "the server lets the reader push");
    git(&clone, &["push", &address(repository, &WRITER), "HEAD:main"]).await?;
    let pushes = repository.pushes();
    ensure!(
        pushes.iter().any(|push| push.accepted),
        "the server took no note of the writer's push: {pushes:?}"
    );
    git(&clone, &["reset", "--quiet", "--hard", "HEAD~"]).await?;
    let refused = git(&clone, &["push", "--force", &address(repository, &WRITER), "HEAD:main"]).await;
    ensure!(refused.is_err(), "the server lets the writer rewrite the branch");
    lost_pushes(repository, &clone).await
}

/// A push can get lost before Git sees it or after, and somebody can be faster.
async fn lost_pushes(repository: &Repository, clone: &Path) -> Result<()> {
    let push = async || {
        let remote = address(repository, &WRITER);
        git(clone, &["pull", "--quiet", "--rebase", &remote, "main"]).await?;
        git(clone, &["commit", "--quiet", "--allow-empty", "-m", "Say nothing again"]).await?;
        Ok::<_, anyhow::Error>(git(clone, &["push", &remote, "HEAD:main"]).await)
    };
    let tip = async || Ok::<_, anyhow::Error>(repository.developer.log().await?.len());
    let before = tip().await?;
    for (moment, moves) in [(Moment::Before, 0), (Moment::After, 1)] {
        let length = tip().await?;
        repository.on_push(moment, || async { Ok(Then::Lose) }.boxed());
        ensure!(push().await?.is_err(), "the push that should get lost {moment:?} succeeded");
        ensure!(tip().await? == length + moves, "the push that got lost {moment:?} moved the branch wrongly");
        git(clone, &["reset", "--quiet", "--hard", "@{u}"]).await?;
    }
    let clone_of_another = Developer::new(&repository.folder, clone.with_file_name("another")).await?;
    repository.on_push(Moment::Before, move || {
        async move {
            clone_of_another.commit("Be faster", &[("README.md", Some("# Faster\n"))]).await?;
            Ok(Then::GoOn)
        }
        .boxed()
    });
    ensure!(push().await?.is_err(), "a push that somebody was faster than succeeded");
    let refused = repository.pushes().iter().filter(|push| !push.accepted).count();
    ensure!(refused >= 1, "the server took no note of a refused push");
    ensure!(push().await?.is_ok(), "a push on the new tip failed");
    ensure!(tip().await? > before, "the branch did not move");
    Ok(())
}

fn address(repository: &Repository, account: &Account) -> String {
    repository.url.replacen("http://", &format!("http://{}:{}@", account.name, account.password), 1)
}
