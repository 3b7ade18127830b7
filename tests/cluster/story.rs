//! The steps that most scenarios share, and when each of them happened.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::app::{App, AppSpec, SYNC_TIMEOUT};
use crate::argocd::NAMESPACE;
use crate::daemon::{Daemon, Policy};
use crate::developer::Commit;
use crate::git::Push;
use crate::kubernetes::{LAST_GOOD, get, text};
use crate::manifests::{config, web};
use crate::scenario::{Repository, Scenario};
use crate::wait::{stays, wait_until};

/// An analysis of 20 s, and time for the daemon and a busy machine.
pub(crate) const ANALYSIS_TIMEOUT: Duration = Duration::from_secs(90);
/// How long nothing more may happen after a story's end.
pub(crate) const QUIET: Duration = Duration::from_secs(15);

/// A file of one application and its content; nothing to remove it.
pub(crate) type File<'a> = (&'a str, Option<&'a str>);

/// A policy over an application, with the running Prometheus.
pub(crate) fn policy(scenario: &Scenario, app: &App) -> Policy {
    let prometheus = scenario.stack.prometheus.url.clone();
    Policy { application: app.name.clone(), prometheus, signing: None, forge: None }
}

/// A repository whose folder `app` is one application; its last good revision is known to a running daemon.
pub(crate) struct Shop {
    pub(crate) repository: Repository,
    pub(crate) app: App,
    pub(crate) daemon: std::sync::Arc<Daemon>,
    pub(crate) good: String,
}

impl Shop {
    /// Opens it: a first revision before the daemon starts, and a second that the daemon finds healthy.
    pub(crate) async fn open(scenario: &Scenario) -> Result<Self> {
        let repository = scenario.repository().await?;
        let app = scenario.application(&repository, AppSpec::new(&scenario.name, "app")).await?;
        let first = web(&app.name, "v1");
        let motto = config("motto", "first");
        let files: [File<'_>; 3] = [
            ("README.md", Some("# A shop\n")),
            ("app/web.yaml", Some(&first)),
            ("app/motto.yaml", Some(&motto)),
        ];
        deploy(&repository, &[&app], "Open the shop", &files).await?;
        let daemon = scenario.daemon("daemon", &[policy(scenario, &app)]).await?;
        let second = web(&app.name, "v2");
        let good = deploy(&repository, &[&app], "Release v2", &[("app/web.yaml", Some(&second))]).await?;
        wait_last_good(&app, &good).await?;
        Ok(Self { repository, app, daemon, good })
    }

    /// Pushes a release whose pods behave as its image's tag says.
    pub(crate) async fn release(&self, tag: &str) -> Result<String> {
        let manifest = web(&self.app.name, tag);
        let files: [File<'_>; 1] = [("app/web.yaml", Some(&manifest))];
        let revision = self.repository.developer.commit(&format!("Release {tag}"), &files).await?;
        self.app.notify().await?;
        Ok(revision)
    }
}

/// Pushes files and waits until every application is healthy with them.
pub(crate) async fn deploy(
    repository: &Repository,
    apps: &[&App],
    message: &str,
    files: &[File<'_>],
) -> Result<String> {
    let revision = repository.developer.commit(message, files).await?;
    for app in apps {
        app.notify().await?;
    }
    for app in apps {
        app.wait_healthy(&revision).await?;
    }
    Ok(revision)
}

/// The daemon's own state of an application.
pub(crate) async fn last_good_object(app: &App) -> Result<Value> {
    get(&app.client, NAMESPACE, &LAST_GOOD, &app.name).await
}

/// Waits until the daemon calls a revision the last good one.
pub(crate) async fn wait_last_good(app: &App, revision: &str) -> Result<()> {
    wait_until(&format!("{} to have {revision} as its last good", app.name), ANALYSIS_TIMEOUT, async || {
        let object = last_good_object(app).await?;
        let found = last_good_revision(&object);
        ensure!(found == revision, "its last good is `{found}`");
        Ok(())
    })
    .await
}

/// The last good revision of a state object.
fn last_good_revision(object: &Value) -> &str {
    text(object, "/status/summary/lastGood")
}

/// When each step of a rollback happened.
pub(crate) struct Timeline {
    live: Timestamp,
    seen: Option<Timestamp>,
    pushed: Timestamp,
    revert_live: Timestamp,
    recovered: Timestamp,
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |step: Timestamp| step.duration_since(self.live).as_secs_f64();
        write!(f, "change live at {:.0}", self.live)?;
        match self.seen {
            Some(seen) => write!(f, ", failure seen {:+.1} s", after(seen))?,
            None => write!(f, ", failure seen at a time that the log does not tell")?,
        }
        write!(
            f,
            ", revert pushed {:+.1} s, live {:+.1} s, recovered {:+.1} s",
            after(self.pushed),
            after(self.revert_live),
            after(self.recovered)
        )
    }
}

/// When the daemon first said that it found the failure, by its log.
fn failure_seen(daemon: &Daemon, since: Timestamp) -> Option<Timestamp> {
    daemon.log().iter().find_map(|line| {
        let at: Timestamp = text(line, "/timestamp").parse().ok()?;
        let said = line.to_string().to_lowercase();
        (at >= since && said.contains("degraded")).then_some(at)
    })
}

/// Follows a bad revision from its sync to the recovery, prints when what happened, and returns the daemon's commit.
pub(crate) async fn follow_rollback(scenario: &Scenario, shop: &Shop, bad: &str) -> Result<Commit> {
    shop.app.wait_live(bad).await?;
    follow_rollback_since(Timestamp::now(), scenario, shop, bad).await
}

/// The same, for a revision that went live earlier.
pub(crate) async fn follow_rollback_since(
    live: Timestamp,
    scenario: &Scenario,
    shop: &Shop,
    bad: &str,
) -> Result<Commit> {
    let Shop { repository, app, daemon, good } = shop;
    let push = wait_pushed(repository).await?;
    let commit = rollback_commit(repository, &push).await?;
    check_rollback(&commit, app, daemon, bad, good)?;
    let (revert_live, recovered) = wait_recovered(repository, &[app]).await?;
    let timeline =
        Timeline { live, seen: failure_seen(daemon, live), pushed: push.at, revert_live, recovered };
    println!("{}: {timeline}", scenario.name);
    Ok(commit)
}

/// Waits until the daemon has moved the branch.
pub(crate) async fn wait_pushed(repository: &Repository) -> Result<Push> {
    wait_until("the daemon's push", ANALYSIS_TIMEOUT, async || {
        let pushes = repository.pushes();
        let accepted = pushes.iter().find(|push| push.accepted).cloned();
        accepted.with_context(|| format!("{} pushes, none of them accepted", pushes.len()))
    })
    .await
}

/// The commit at the end of the daemon's push.
pub(crate) async fn rollback_commit(repository: &Repository, push: &Push) -> Result<Commit> {
    let log = repository.developer.log().await?;
    let commit = log.into_iter().find(|commit| commit.sha == push.new);
    commit.with_context(|| format!("the daemon's push of {} is not on the branch", push.new))
}

/// Checks what a rollback's commit says about itself.
pub(crate) fn check_rollback(
    commit: &Commit,
    app: &App,
    daemon: &Daemon,
    bad: &str,
    good: &str,
) -> Result<()> {
    let application = format!("{NAMESPACE}/{}", app.name);
    for (trailer, wanted) in [
        ("Lastgood-Application", application.as_str()),
        ("Lastgood-Bad", bad),
        ("Lastgood-Good", good),
        ("Lastgood-Cluster", &daemon.cluster),
    ] {
        let found = commit.trailer(trailer);
        ensure!(
            found == Some(wanted),
            "the trailer {trailer} is {found:?}, not `{wanted}`, in:\n{}",
            commit.message
        );
    }
    ensure!(commit.is_rollback(), "the trailer Lastgood-Rollback is missing in:\n{}", commit.message);
    ensure!(
        commit.message.starts_with("Revert "),
        "its subject is not that of a revert:\n{}",
        commit.message
    );
    Ok(())
}

/// Waits until the branch's tip is live and then healthy in every application; nobody but the daemon tells Argo CD to look.
pub(crate) async fn wait_recovered(repository: &Repository, apps: &[&App]) -> Result<(Timestamp, Timestamp)> {
    let log = repository.developer.log().await?;
    let tip = &log.first().context("the branch has no commit")?.sha;
    for app in apps {
        app.wait_live(tip).await?;
    }
    let live = Timestamp::now();
    for app in apps {
        app.wait_healthy(tip).await?;
    }
    Ok((live, Timestamp::now()))
}

/// Sees that there is exactly one rollback, and that it stays so.
pub(crate) async fn stays_at_one_rollback(repository: &Repository) -> Result<()> {
    stays("there is exactly one rollback", QUIET, async || {
        let rollbacks = repository.developer.rollbacks().await?;
        ensure!(rollbacks.len() == 1, "there are {}: {rollbacks:?}", rollbacks.len());
        Ok(())
    })
    .await
}

/// Sees that the daemon pushes nothing to the branch for a while.
pub(crate) async fn stays_unpushed(repository: &Repository) -> Result<()> {
    stays("the daemon has pushed nothing", QUIET, async || {
        let pushes = repository.pushes();
        ensure!(pushes.is_empty(), "it pushed {pushes:?}");
        Ok(())
    })
    .await
}

/// Waits until the analysis of a revision has ended without a verdict either way.
pub(crate) async fn wait_inconclusive(app: &App, revision: &str) -> Result<()> {
    wait_until(&format!("the analysis of {} to end inconclusive", app.name), ANALYSIS_TIMEOUT, async || {
        let object = last_good_object(app).await?;
        let at = |pointer| text(&object, pointer);
        let (phase, reason) = (at("/status/summary/phase"), at("/status/summary/reason"));
        // A running analysis can be inconclusive so far; what counts is how it ends.
        ensure!(
            phase != "Analysing" && reason.contains("inconclusive"),
            "it is {phase} at `{}`: {reason}",
            at("/status/summary/revision")
        );
        ensure!(at("/status/summary/revision") == revision, "that was another revision's");
        Ok(())
    })
    .await
}

/// Checks that a revision did not become the last good one.
pub(crate) async fn check_last_good_still(app: &App, good: &str) -> Result<()> {
    let object = last_good_object(app).await?;
    let found = last_good_revision(&object);
    ensure!(found == good, "the last good moved from {good} to `{found}`");
    Ok(())
}

/// Long enough for a sync to end, for steps that only Argo CD takes.
pub(crate) const ARGOCD_TIMEOUT: Duration = SYNC_TIMEOUT;
