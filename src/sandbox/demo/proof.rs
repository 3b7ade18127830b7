//! Whether a bad deploy is really undone: in Git and in the cluster, not in the daemon's words.

use std::path::Path;

use git2::{Oid, Repository};
use serde_json::Value;

use crate::sandbox::apiserver::{APPLICATIONS, PODS};
use crate::sandbox::json::{list, text};
use crate::sandbox::{APP, ARGOCD_NAMESPACE, BRANCH, DEPLOYMENT_FILE, Sandbox};

/// The daemon told of a recovery, but something is not as it was.
#[derive(Debug, thiserror::Error)]
#[error("{bad} was reported as recovered from, but {what}; please report this")]
pub struct Unproven {
    bad: String,
    what: String,
}

/// Checks that the branch has a revert of `bad`, that the files are those of `good`, and that they are live.
pub(super) fn prove_undone(sandbox: &Sandbox, bad: &str, good: &str) -> Result<(), Unproven> {
    let unproven = |what: String| Unproven { bad: bad.to_owned(), what };
    let tip = in_git(sandbox.repository(), bad, good)
        .unwrap_or_else(|error| Err(format!("its history cannot be read: {}", error.message())))
        .map_err(unproven)?;
    in_cluster(sandbox, &tip).map_err(unproven)
}

/// The branch's tip, if everything there is as it should be.
fn in_git(repository: &Path, bad: &str, good: &str) -> Result<Result<String, String>, git2::Error> {
    let repository = Repository::open_bare(repository)?;
    let tip = repository.find_reference(&format!("refs/heads/{BRANCH}"))?.peel_to_commit()?;
    let file = |commit: &str| -> Result<Oid, git2::Error> {
        let tree = repository.find_commit(Oid::from_str(commit)?)?.tree()?;
        Ok(tree.get_path(Path::new(DEPLOYMENT_FILE))?.id())
    };
    if file(&tip.id().to_string())? != file(good)? {
        return Ok(Err(format!("{DEPLOYMENT_FILE} is not what it was at {good}")));
    }
    if !repository.graph_descendant_of(tip.id(), Oid::from_str(bad)?)? {
        return Ok(Err("it is no longer in the history: the history was rewritten".to_owned()));
    }
    let mut walk = repository.revwalk()?;
    walk.push(tip.id())?;
    walk.hide(Oid::from_str(bad)?)?;
    for id in walk {
        let message = repository.find_commit(id?)?;
        if String::from_utf8_lossy(message.message_bytes()).contains(bad) {
            return Ok(Ok(tip.id().to_string()));
        }
    }
    Ok(Err("no commit after it names it".to_owned()))
}

fn in_cluster(sandbox: &Sandbox, tip: &str) -> Result<(), String> {
    let app = sandbox.store().get(&APPLICATIONS, ARGOCD_NAMESPACE, APP).unwrap_or_default();
    let (health, sync) = (text(&app, "/status/health/status"), text(&app, "/status/sync/status"));
    if (health, sync) != ("Healthy", "Synced") {
        return Err(format!("Argo CD calls {APP} {health} and {sync}"));
    }
    let compared = text(&app, "/status/sync/revision");
    if compared != tip {
        return Err(format!("Argo CD looks at {compared}, not at {tip}"));
    }
    let ready = |pod: &Value| {
        list(pod, "/status/containerStatuses")
            .iter()
            .all(|status| status.get("ready") == Some(&Value::Bool(true)))
    };
    let pods = sandbox.store().list(&PODS, Some(APP));
    let waiting = pods.iter().filter(|pod| !ready(pod)).count();
    if waiting > 0 || pods.is_empty() {
        return Err(format!("{waiting} of its {} pods are not ready", pods.len()));
    }
    Ok(())
}
