//! An application that another one defines, and a change of its definition.

use anyhow::{Result, ensure};

use crate::app::{App, AppSpec};
use crate::argocd::NAMESPACE;
use crate::manifests::{CHART, values};
use crate::scenario::{LABEL, Scenario};
use crate::story::{File, Shop, deploy, follow_rollback, policy, stays_at_one_rollback, wait_last_good};

const DEFINITION: &str = "apps/guestbook.yaml";

/// An Application with a Helm parameter, as it stands in its parent's folder.
fn definition(scenario: &Scenario, app: &App, repository: &str, tag: &str) -> String {
    let (name, namespace, scenario) = (&app.name, &app.namespace, &scenario.name);
    format!(
        "\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: {name}
  namespace: {NAMESPACE}
  labels: {{ {LABEL}: {scenario} }}
spec:
  project: default
  source:
    repoURL: {repository}
    path: chart
    targetRevision: main
    helm:
      parameters:
        - name: image.tag
          value: {tag}
  destination: {{ server: https://kubernetes.default.svc, namespace: {namespace} }}
  syncPolicy:
    automated: {{ prune: true, selfHeal: true }}
    syncOptions: [CreateNamespace=true]
"
    )
}

/// A bad parameter in the Application itself is undone in the file of the parent that defines it, although the child
/// follows the same branch and so moved along.
pub(crate) async fn app_of_apps(scenario: &Scenario) -> Result<()> {
    let repository = scenario.repository().await?;
    let parent = scenario.application(&repository, AppSpec::new(&scenario.name, "apps")).await?;
    let name = format!("{}-child", scenario.name);
    let app = App { client: parent.client.clone(), namespace: format!("e2e-{name}"), name };
    let at = |tag: &str| definition(scenario, &app, &repository.url, tag);
    let (first, second, third) = (at("v1"), at("v2"), at("missing"));

    let values = values("v0", false);
    let chart = CHART.map(|(path, content)| (format!("chart/{path}"), content));
    let mut files: Vec<File<'_>> =
        chart.iter().map(|(path, content)| (path.as_str(), Some(*content))).collect();
    files.extend([("chart/values.yaml", Some(values.as_str())), (DEFINITION, Some(first.as_str()))]);
    let opened = deploy(&repository, &[&parent], "Open the guestbook", &files).await?;
    app.wait_healthy(&opened).await?;
    let daemon = scenario.daemon("daemon", &[policy(scenario, &app)]).await?;
    let files: [File<'_>; 1] = [(DEFINITION, Some(&second))];
    let good = deploy(&repository, &[&parent], "Release v2", &files).await?;
    app.notify().await?;
    wait_last_good(&app, &good).await?;
    let before = repository.developer.read(DEFINITION).await?;

    let files: [File<'_>; 1] = [(DEFINITION, Some(&third))];
    let bad = repository.developer.commit("Release v3", &files).await?;
    parent.notify().await?;
    app.notify().await?;
    let shop = Shop { repository, app, daemon, good };
    let rollback = follow_rollback(scenario, &shop, &bad).await?;
    let changed = shop.repository.developer.changed(&rollback.sha).await?;
    ensure!(changed == [DEFINITION], "the rollback changed {changed:?}");
    let after = shop.repository.developer.read(DEFINITION).await?;
    ensure!(after == before, "the file is not what it was at last good:\n{after}");
    let named = format!("{NAMESPACE}/{}", parent.name);
    ensure!(rollback.trailer("Lastgood-Parent") == Some(&named), "in:\n{}", rollback.message);
    wait_last_good(&shop.app, &rollback.sha).await?;
    stays_at_one_rollback(&shop.repository).await
}
