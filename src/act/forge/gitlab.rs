//! GitLab: merge requests over its REST API.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::address::Address;
use super::caller::{Answer, Call, Caller};
use super::error::ForgeError;
use super::proposal::Proposal;
use super::{Api, Seen};
use crate::act::git::{Access, Auth};
use crate::engine::forge::{MergeMethod, PullRequest, PullRequestState};

/// What a token must be allowed to do.
const NEEDS: &str = "the scope `api` and the role Developer";

/// Merge requests of one branch that are looked at; there is one.
const PAGE_SIZE: &str = "10";

#[derive(Debug)]
pub(super) struct GitLab {
    caller: Caller,
    /// The project's path, which GitLab takes for its id.
    project: String,
}

impl GitLab {
    pub(super) fn new(address: &Address, access: &Access) -> Result<Self, ForgeError> {
        // Personal, project and group tokens are taken in this header as well as OAuth's.
        let auth = match &access.auth {
            Auth::Basic { password, .. } => Auth::Bearer(password.clone()),
            other => other.clone(),
        };
        let caller = Caller::new(address.api.clone(), access, auth, NEEDS)?;
        Ok(Self { caller, project: address.project.join("/") })
    }

    fn call<'a>(&'a self, method: Method, path: impl IntoIterator<Item = &'a str>) -> Call {
        Call::new(method, ["projects", &self.project].into_iter().chain(path))
    }

    fn merge_request(&self, method: Method, number: u64, more: Option<&str>) -> Call {
        let number = number.to_string();
        self.call(method, ["merge_requests", &number].into_iter().chain(more))
    }

    fn read(&self, body: &Value) -> Result<Seen, ForgeError> {
        seen(body).ok_or_else(|| self.caller.strange("a merge request lacks its number, URL or state"))
    }

    /// The number that GitLab knows a person by.
    async fn id_of(&self, username: &str) -> Result<u64, ForgeError> {
        let call = Call::new(Method::GET, ["users"]).query("username", username);
        let found = self.caller.get(&call).await?;
        let id = found.pointer("/0/id").and_then(Value::as_u64);
        id.ok_or_else(|| self.caller.declined(&format!("there is no user `{username}`")))
    }
}

#[async_trait]
impl Api for GitLab {
    async fn find(&self, base: &str, branch: &str) -> Result<Option<Seen>, ForgeError> {
        let call = self.call(Method::GET, ["merge_requests"]).query("source_branch", branch);
        let call = call.query("target_branch", base).query("state", "all").query("scope", "all");
        let list = self.caller.get(&call.query("per_page", PAGE_SIZE)).await?;
        let list = list.as_array().ok_or_else(|| self.caller.strange("a list was expected"))?;
        // A fork may have a branch of the same name.
        let project = |of: &str, merge_request: &Value| merge_request.get(of).and_then(Value::as_u64);
        let ours =
            list.iter().filter(|mr| project("source_project_id", mr) == project("target_project_id", mr));
        let all = ours.map(|merge_request| self.read(merge_request)).collect::<Result<Vec<_>, _>>()?;
        Ok(Seen::foremost(all))
    }

    async fn open(&self, proposal: &Proposal) -> Result<Option<Seen>, ForgeError> {
        let call = self.call(Method::POST, ["merge_requests"]).body(json!({
            "title": proposal.title,
            "description": proposal.body,
            "source_branch": proposal.branch,
            "target_branch": proposal.base,
            "remove_source_branch": true,
        }));
        let opened = self.caller.get_unless(&call, Answer::is_conflict).await?;
        opened.map(|body| self.read(&body)).transpose()
    }

    async fn label(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        let body = json!({ "add_labels": labels.join(",") });
        self.caller.get(&self.merge_request(Method::PUT, number, None).body(body)).await.map(drop)
    }

    async fn ask_for_review(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        let mut ids = Vec::new();
        for username in reviewers {
            ids.push(self.id_of(username).await?);
        }
        let body = json!({ "reviewer_ids": ids });
        self.caller.get(&self.merge_request(Method::PUT, number, None).body(body)).await.map(drop)
    }

    async fn merge_when_allowed(
        &self,
        seen: &Seen,
        proposal: &Proposal,
        method: MergeMethod,
    ) -> Result<(), ForgeError> {
        let number = seen.pull_request.number;
        let one = self.caller.get(&self.merge_request(Method::GET, number, None)).await?;
        let mut call = self.merge_request(Method::PUT, number, Some("merge")).body(json!({
            "sha": seen.head,
            "squash": method == MergeMethod::Squash,
            "should_remove_source_branch": true,
        }));
        if method == MergeMethod::Squash {
            let message = format!("{}\n\n{}", proposal.title, proposal.body);
            call = call.body(json!({ "squash_commit_message": message }));
        }
        let text = |at: &str| one.get(at).and_then(Value::as_str);
        let mergeable = text("detailed_merge_status") == Some("mergeable");
        // Without a pipeline there is nothing to wait for, and GitLab refuses to. An older GitLab does not know the
        // newer name of this switch and would merge at once, a newer one will forget the older name: so both.
        if !(mergeable && one.get("head_pipeline").is_some_and(Value::is_null)) {
            call = call.body(json!({ "auto_merge": true, "merge_when_pipeline_succeeds": true }));
        }
        self.caller.get(&call).await.map(drop)
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let call = self.merge_request(Method::POST, number, Some("notes")).body(json!({ "body": text }));
        self.caller.get(&call).await.map(drop)
    }

    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let body = json!({ "state_event": "close" });
        self.caller.get(&self.merge_request(Method::PUT, number, None).body(body)).await.map(drop)
    }

    async fn delete_branch(&self, branch: &str) -> Result<(), ForgeError> {
        let call = self.call(Method::DELETE, ["repository", "branches", branch]);
        self.caller.get_unless(&call, Answer::is_not_found).await.map(drop)
    }
}

/// Reads a merge request as GitLab writes it.
fn seen(body: &Value) -> Option<Seen> {
    let text = |at: &str| body.get(at).and_then(Value::as_str).map(str::to_owned);
    // A merge that is fast-forward makes no commit of its own.
    let merged = || text("merge_commit_sha").or_else(|| text("squash_commit_sha")).or_else(|| text("sha"));
    let state = match text("state")?.as_str() {
        "merged" => PullRequestState::Merged { commit: merged() },
        "closed" => PullRequestState::Closed,
        // "locked" is one that is being merged.
        _ => PullRequestState::Open,
    };
    let pull_request = PullRequest { number: body.get("iid")?.as_u64()?, url: text("web_url")?, state };
    let flag = |at: &str| body.get(at).and_then(Value::as_bool) == Some(true);
    Some(Seen {
        pull_request,
        head: text("sha"),
        node: None,
        merges_itself: flag("merge_when_pipeline_succeeds"),
    })
}
