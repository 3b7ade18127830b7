//! Others in the same repository, and a daemon that dies or isn't alone: still one revert, of the right files.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::app::AppSpec;
use crate::git::{Moment, Then};
use crate::manifests::{config, web};
use crate::scenario::Scenario;
use crate::story::{
    File, Shop, deploy, follow_rollback, follow_rollback_since, policy, stays_at_one_rollback, wait_last_good,
};
use crate::wait::wait_until;

/// How long the daemon may take from a bad commit to its push, on a busy machine.
const PUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// Two applications in one repository: one commit changes both and makes one sick, and another commit follows.
/// Only the sick one's files are put back.
pub(crate) async fn two_applications(scenario: &Scenario) -> Result<()> {
    let repository = scenario.repository().await?;
    let shop = scenario.application(&repository, AppSpec::new("two-shop", "shop")).await?;
    let blog = scenario.application(&repository, AppSpec::new("two-blog", "blog")).await?;
    let (shop_web, blog_web, first) =
        (web("two-shop", "v1"), web("two-blog", "v1"), config("motto", "first"));
    let files: [File<'_>; 3] = [
        ("shop/web.yaml", Some(&shop_web)),
        ("blog/web.yaml", Some(&blog_web)),
        ("blog/motto.yaml", Some(&first)),
    ];
    deploy(&repository, &[&shop, &blog], "Begin", &files).await?;
    let daemon = scenario.daemon("daemon", &[policy(scenario, &shop), policy(scenario, &blog)]).await?;
    let (shop_web, blog_web) = (web("two-shop", "v2"), web("two-blog", "v2"));
    let files: [File<'_>; 2] = [("shop/web.yaml", Some(&shop_web)), ("blog/web.yaml", Some(&blog_web))];
    let good = deploy(&repository, &[&shop, &blog], "Release v2", &files).await?;
    wait_last_good(&shop, &good).await?;
    wait_last_good(&blog, &good).await?;

    let (shop_web, blog_web) = (web("two-shop", "missing"), web("two-blog", "v3"));
    let files: [File<'_>; 2] = [("shop/web.yaml", Some(&shop_web)), ("blog/web.yaml", Some(&blog_web))];
    let bad = repository.developer.commit("Release v3 of both", &files).await?;
    shop.notify().await?;
    blog.notify().await?;
    shop.wait_live(&bad).await?;
    let live = Timestamp::now();
    let second = config("motto", "second");
    repository.developer.commit("Change the motto", &[("blog/motto.yaml", Some(&second))]).await?;

    let opened = Shop { repository, app: shop, daemon, good };
    let rollback = follow_rollback_since(live, scenario, &opened, &bad).await?;
    let developer = &opened.repository.developer;
    let changed = developer.changed(&rollback.sha).await?;
    ensure!(changed == ["shop/web.yaml"], "the rollback changed {changed:?}");
    ensure!(developer.read("blog/web.yaml").await?.contains(":v3"), "the other application lost its release");
    ensure!(developer.read("blog/motto.yaml").await?.contains("second"), "the commit in between is lost");
    let log = developer.log().await?;
    let tip = &log.first().context("the branch has no commit")?.sha;
    blog.notify().await?;
    blog.wait_healthy(tip).await?;
    stays_at_one_rollback(&opened.repository).await
}

/// Somebody pushes another file between the plan and the push: both stay, and there is one revert.
pub(crate) async fn push_in_between(scenario: &Scenario) -> Result<()> {
    let shop = Arc::new(Shop::open(scenario).await?);
    let others = Arc::clone(&shop);
    shop.repository.on_push(Moment::Before, move || {
        async move {
            let files: [File<'_>; 1] = [("README.md", Some("# A shop in trouble\n"))];
            others.repository.developer.commit("Explain ourselves", &files).await?;
            Ok(Then::GoOn)
        }
        .boxed()
    });
    let bad = shop.release("missing").await?;
    follow_rollback(scenario, &shop, &bad).await?;
    let pushes = shop.repository.pushes();
    ensure!(
        pushes.iter().any(|push| !push.accepted),
        "no push was refused, so nothing was shown: {pushes:?}"
    );
    let readme = shop.repository.developer.read("README.md").await?;
    ensure!(readme.contains("in trouble"), "the other commit is lost: {readme}");
    stays_at_one_rollback(&shop.repository).await
}

/// The daemon dies before its push reaches the repository: started again, it pushes once.
pub(crate) async fn killed_before_push(scenario: &Scenario) -> Result<()> {
    killed_at_push(scenario, Moment::Before).await
}

/// The daemon dies after its push, before it hears of the success: started again, it knows its own revert.
pub(crate) async fn killed_after_push(scenario: &Scenario) -> Result<()> {
    killed_at_push(scenario, Moment::After).await
}

async fn killed_at_push(scenario: &Scenario, moment: Moment) -> Result<()> {
    let shop = Shop::open(scenario).await?;
    let (killed, dead) = oneshot::channel();
    let victim = Arc::clone(&shop.daemon);
    shop.repository.on_push(moment, move || {
        async move {
            victim.kill()?;
            killed.send(()).ok();
            Ok(Then::Lose)
        }
        .boxed()
    });
    let bad = shop.release("missing").await?;
    shop.app.wait_live(&bad).await?;
    let live = Timestamp::now();
    tokio::time::timeout(PUSH_TIMEOUT, dead).await.context("the daemon never pushed")??;
    let accepted = shop.repository.pushes().iter().filter(|push| push.accepted).count();
    ensure!(
        accepted == usize::from(moment == Moment::After),
        "{accepted} pushes were accepted at the daemon's end"
    );
    shop.daemon.start_again().await?;
    follow_rollback_since(live, scenario, &shop, &bad).await?;
    stays_at_one_rollback(&shop.repository).await
}

/// Two daemons over the same application: one revert.
pub(crate) async fn two_daemons(scenario: &Scenario) -> Result<()> {
    let shop = Shop::open(scenario).await?;
    let _twin = scenario.daemon("twin", &[policy(scenario, &shop.app)]).await?;
    let bad = shop.release("missing").await?;
    follow_rollback(scenario, &shop, &bad).await?;
    stays_at_one_rollback(&shop.repository).await?;
    wait_until("one accepted push", PUSH_TIMEOUT, async || {
        let pushes = shop.repository.pushes();
        let accepted = pushes.iter().filter(|push| push.accepted).count();
        ensure!(accepted == 1, "there are {accepted}: {pushes:?}");
        Ok(())
    })
    .await
}
