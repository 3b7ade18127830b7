//! What a bad commit does to an application, and that the daemon undoes it.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::app::AppSpec;
use crate::e2e_stack::argocd_agrees;
use crate::manifests::{CHART, migration, values, web};
use crate::scenario::Scenario;
use crate::story::{
    File, Shop, check_last_good_still, deploy, follow_rollback, policy, stays_at_one_rollback,
    stays_unpushed, wait_inconclusive, wait_last_good,
};
use crate::wait::wait_until;

/// A record of a rollback is pushed at once; this bounds a machine under load.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(30);

/// A good deploy becomes last good, and nothing is pushed.
pub(crate) async fn good_deploy(scenario: &Scenario) -> Result<()> {
    let shop = Shop::open(scenario).await?;
    let better = shop.release("v3").await?;
    shop.app.wait_healthy(&better).await?;
    wait_last_good(&shop.app, &better).await?;
    stays_unpushed(&shop.repository).await?;
    println!("{}: the idle daemon takes {} KiB", scenario.name, shop.daemon.memory_kib()?);
    Ok(())
}

/// An image that cannot be pulled is reverted.
pub(crate) async fn missing_image(scenario: &Scenario) -> Result<()> {
    reverted(scenario, "missing").await.map(drop)
}

/// A container that crashes again and again is reverted.
pub(crate) async fn crash_loop(scenario: &Scenario) -> Result<()> {
    reverted(scenario, "crash").await.map(drop)
}

/// A breach of an SLO is reverted although every pod is ready.
///
/// The ledger on the repository's branch tells it, and each vouches for the other.
pub(crate) async fn slo_breach(scenario: &Scenario) -> Result<()> {
    let shop = reverted(scenario, "errors").await?;
    let repository = shop.repository.folder.to_string_lossy().into_owned();
    let recovered = async || {
        let listed = audit(&["list", "--repo", &repository]).await?;
        ensure!(listed.contains(" Recovered "), "it lists\n{listed}");
        Ok(())
    };
    wait_until("the ledger to have the recovery", LEDGER_TIMEOUT, recovered).await?;
    let rollbacks = shop.repository.developer.rollbacks().await?;
    let trailer = rollbacks.first().and_then(|commit| commit.trailer("Lastgood-Record"));
    ensure!(trailer.is_some_and(|hash| hash.starts_with("sha256:")), "the commit is {rollbacks:?}");
    println!("{}", audit(&["verify", "--repo", &repository]).await?);
    Ok(())
}

/// What a command for the ledger prints.
async fn audit(args: &[&str]) -> Result<String> {
    let program = std::env::var_os("LASTGOOD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_lastgood").into());
    let output = Command::new(program).arg("audit").args(args).kill_on_drop(true).output().await?;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "`lastgood audit {}`: {out}{error}", args.join(" "));
    Ok(out.into_owned())
}

async fn reverted(scenario: &Scenario, tag: &str) -> Result<Shop> {
    let shop = Shop::open(scenario).await?;
    let before = shop.repository.developer.read("app/web.yaml").await?;
    let bad = shop.release(tag).await?;
    let rollback = follow_rollback(scenario, &shop, &bad).await?;
    let changed = shop.repository.developer.changed(&rollback.sha).await?;
    ensure!(changed == ["app/web.yaml"], "the rollback changed {changed:?}");
    let after = shop.repository.developer.read("app/web.yaml").await?;
    ensure!(after == before, "the file is not what it was at last good:\n{after}");
    stays_at_one_rollback(&shop.repository).await?;
    Ok(shop)
}

/// A hook's Job that makes the sync fail is reverted, although nothing of the bad commit ever ran.
pub(crate) async fn failing_hook(scenario: &Scenario) -> Result<()> {
    let mut shop = Shop::open(scenario).await?;
    // Each time with a new image too: a change of nothing but a hook starts no sync.
    let (job, image) = (migration(&shop.app.name, "ok"), web(&shop.app.name, "v3"));
    let files: [File<'_>; 2] = [("app/migration.yaml", Some(&job)), ("app/web.yaml", Some(&image))];
    shop.good = deploy(&shop.repository, &[&shop.app], "Migrate before each sync", &files).await?;
    wait_last_good(&shop.app, &shop.good).await?;

    let (job, image) = (migration(&shop.app.name, "fail"), web(&shop.app.name, "v4"));
    let files: [File<'_>; 2] = [("app/migration.yaml", Some(&job)), ("app/web.yaml", Some(&image))];
    let bad = shop.repository.developer.commit("Migrate to v4", &files).await?;
    shop.app.notify().await?;
    follow_rollback(scenario, &shop, &bad).await?;
    stays_at_one_rollback(&shop.repository).await
}

/// A Helm chart with automated pruning: bad values take a resource away, and their revert brings it back.
pub(crate) async fn helm_guestbook(scenario: &Scenario) -> Result<()> {
    let repository = scenario.repository().await?;
    let spec = AppSpec {
        target_revision: "HEAD",
        create_namespace: true,
        ..AppSpec::new("helm-guestbook", "helm-guestbook")
    };
    let app = scenario.application(&repository, spec).await?;
    let first = values("v1", true);
    let chart = CHART.map(|(path, content)| (format!("helm-guestbook/{path}"), content));
    let mut files: Vec<File<'_>> =
        chart.iter().map(|(path, content)| (path.as_str(), Some(*content))).collect();
    files.push(("helm-guestbook/values.yaml", Some(&first)));
    deploy(&repository, &[&app], "Open the guestbook", &files).await?;
    let daemon = scenario.daemon("daemon", &[policy(scenario, &app)]).await?;
    let second = values("v2", true);
    let files: [File<'_>; 1] = [("helm-guestbook/values.yaml", Some(&second))];
    let good = deploy(&repository, &[&app], "Release v2", &files).await?;
    wait_last_good(&app, &good).await?;
    let shop = Shop { repository, app, daemon, good };
    let banner = shop.app.config_map_uid("helm-guestbook-banner").await?;

    let third = values("missing", false);
    let files: [File<'_>; 1] = [("helm-guestbook/values.yaml", Some(&third))];
    let bad = shop.repository.developer.commit("Release v3 without a banner", &files).await?;
    shop.app.notify().await?;
    let rollback = follow_rollback(scenario, &shop, &bad).await?;
    let changed = shop.repository.developer.changed(&rollback.sha).await?;
    ensure!(changed == ["helm-guestbook/values.yaml"], "the rollback changed {changed:?}");
    let after = shop.app.config_map_uid("helm-guestbook-banner").await?;
    ensure!(after != banner, "the banner was never pruned, so nothing was shown");
    argocd_agrees(scenario, &shop.app, &rollback.sha).await?;
    stays_at_one_rollback(&shop.repository).await
}

/// While Prometheus is down, failing requests are nobody's proof: nothing is reverted, and nothing becomes good.
pub(crate) async fn prometheus_down(scenario: &Scenario) -> Result<()> {
    let shop = Shop::open(scenario).await?;
    shop.daemon.kill()?;
    let mut blind = policy(scenario, &shop.app);
    blind.prometheus.clone_from(&scenario.stack.prometheus.dead_url);
    let _daemon = scenario.daemon("daemon", &[blind]).await?;
    let bad = shop.release("errors").await?;
    shop.app.wait_healthy(&bad).await?;
    wait_inconclusive(&shop.app, &bad).await?;
    stays_unpushed(&shop.repository).await?;
    check_last_good_still(&shop.app, &shop.good).await
}
