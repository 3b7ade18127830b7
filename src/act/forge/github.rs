//! GitHub: REST, and GraphQL for the one thing that REST lacks.

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::address::Address;
use super::caller::{Answer, Call, Caller};
use super::error::ForgeError;
use super::proposal::Proposal;
use super::{Api, Seen};
use crate::act::git::{Access, Auth};
use crate::engine::forge::{MergeMethod, PullRequest, PullRequestState};

/// What a token must be allowed to do.
const NEEDS: &str = "`Contents` and `Pull requests`, both read and write (or the scope `repo`)";

/// Pull requests of one branch that are looked at; there is one.
const PAGE_SIZE: &str = "10";

/// Has a pull request merged once all that is required has passed.
const MERGE_LATER: &str = "mutation($id: ID!, $method: PullRequestMergeMethod!, $headline: String, $body: String) { \
     enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method, \
     commitHeadline: $headline, commitBody: $body}) { clientMutationId } }";

/// How GitHub refuses to merge later what can be merged now.
const NOTHING_TO_WAIT_FOR: [&str; 2] = ["clean status", "protected branch rules not configured"];

#[derive(Debug)]
pub(super) struct GitHub {
    caller: Caller,
    /// GraphQL is beside the REST API on a server of one's own, and below it on github.com.
    graphql: Caller,
    owner: String,
    repository: String,
}

impl GitHub {
    pub(super) fn new(address: &Address, access: &Access) -> Result<Self, ForgeError> {
        let [owner, repository] = address.project.as_slice() else {
            return Err(ForgeError::unusable(&access.url, "a repository at GitHub has an owner and a name"));
        };
        // A token may have been given as a password, for Git.
        let auth = match &access.auth {
            Auth::Basic { password, .. } => Auth::Bearer(password.clone()),
            other => other.clone(),
        };
        let mut root = address.api.clone();
        if root.path().ends_with("/v3") {
            root.set_path(root.path().trim_end_matches("/v3").to_owned().as_str());
        }
        Ok(Self {
            caller: Caller::new(address.api.clone(), access, auth.clone(), NEEDS)?,
            graphql: Caller::new(root, access, auth, NEEDS)?,
            owner: owner.clone(),
            repository: repository.clone(),
        })
    }

    fn call<'a>(&'a self, method: Method, path: impl IntoIterator<Item = &'a str>) -> Call {
        Call::new(method, ["repos", &self.owner, &self.repository].into_iter().chain(path))
    }

    fn read(&self, body: &Value) -> Result<Seen, ForgeError> {
        seen(body).ok_or_else(|| self.caller.strange("a pull request lacks its number, URL or state"))
    }
}

#[async_trait]
impl Api for GitHub {
    async fn find(&self, base: &str, branch: &str) -> Result<Option<Seen>, ForgeError> {
        let head = format!("{}:{branch}", self.owner);
        let call = self.call(Method::GET, ["pulls"]).query("head", head).query("base", base);
        let list = self.caller.get(&call.query("state", "all").query("per_page", PAGE_SIZE)).await?;
        let list = list.as_array().ok_or_else(|| self.caller.strange("a list was expected"))?;
        // A name that GitHub does not know filters nothing out.
        let ours =
            list.iter().filter(|pull| pull.pointer("/head/ref").and_then(Value::as_str) == Some(branch));
        let all = ours.map(|pull| self.read(pull)).collect::<Result<Vec<_>, _>>()?;
        Ok(Seen::foremost(all))
    }

    async fn open(&self, proposal: &Proposal) -> Result<Option<Seen>, ForgeError> {
        let call = self.call(Method::POST, ["pulls"]).body(json!({
            "title": proposal.title,
            "body": proposal.body,
            "head": proposal.branch,
            "base": proposal.base,
            "maintainer_can_modify": false,
        }));
        let exists = |answer: &Answer| {
            answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.says("already exists")
        };
        let opened = self.caller.get_unless(&call, exists).await?;
        opened.map(|body| self.read(&body)).transpose()
    }

    async fn label(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        let number = number.to_string();
        let call = self.call(Method::POST, ["issues", &number, "labels"]).body(json!({ "labels": labels }));
        self.caller.get(&call).await.map(drop)
    }

    async fn ask_for_review(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        let (teams, people): (Vec<_>, Vec<_>) = reviewers.iter().partition(|name| name.contains('/'));
        // A team is known by its name within the organisation, which can only be the repository's own.
        let teams: Vec<_> = teams.iter().filter_map(|name| name.rsplit('/').next()).collect();
        let number = number.to_string();
        let body = json!({ "reviewers": people, "team_reviewers": teams });
        let call = self.call(Method::POST, ["pulls", &number, "requested_reviewers"]).body(body);
        self.caller.get(&call).await.map(drop)
    }

    async fn merge_when_allowed(
        &self,
        seen: &Seen,
        proposal: &Proposal,
        method: MergeMethod,
    ) -> Result<(), ForgeError> {
        let node =
            seen.node.as_deref().ok_or_else(|| self.caller.strange("a pull request has no `node_id`"))?;
        let name = match method {
            MergeMethod::Merge => "MERGE",
            MergeMethod::Squash => "SQUASH",
            MergeMethod::Rebase => "REBASE",
        };
        // Else the repository's settings decide whether a squashed commit says whose rollback it is.
        let squash = method == MergeMethod::Squash;
        let variables = if squash {
            json!({ "id": node, "method": name, "headline": proposal.title, "body": proposal.body })
        } else {
            json!({ "id": node, "method": name })
        };
        let body = json!({ "query": MERGE_LATER, "variables": variables });
        let call = Call::new(Method::POST, ["graphql"]).body(body);
        let answer = self.graphql.ask(&call).await?;
        if !answer.status.is_success() {
            return Err(self.graphql.failure(&answer));
        }
        // GraphQL tells of a failure in the body of a success.
        if answer.body.get("errors").is_none() {
            return Ok(());
        }
        if !NOTHING_TO_WAIT_FOR.iter().any(|words| answer.says(words)) {
            return Err(self.graphql.declined(answer.words()));
        }
        let number = seen.pull_request.number.to_string();
        let call = self.call(Method::PUT, ["pulls", &number, "merge"]);
        let mut call = call.body(json!({ "merge_method": name.to_lowercase(), "sha": seen.head }));
        if squash {
            call = call.body(json!({ "commit_title": proposal.title, "commit_message": proposal.body }));
        }
        self.caller.get(&call).await.map(drop)
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let number = number.to_string();
        let call = self.call(Method::POST, ["issues", &number, "comments"]).body(json!({ "body": text }));
        self.caller.get(&call).await.map(drop)
    }

    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let number = number.to_string();
        let call = self.call(Method::PATCH, ["pulls", &number]).body(json!({ "state": "closed" }));
        self.caller.get(&call).await.map(drop)
    }

    async fn delete_branch(&self, branch: &str) -> Result<(), ForgeError> {
        let path = ["git", "refs", "heads"].into_iter().chain(branch.split('/'));
        let is_gone = |answer: &Answer| {
            answer.is_not_found()
                || (answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.says("does not exist"))
        };
        self.caller.get_unless(&self.call(Method::DELETE, path), is_gone).await.map(drop)
    }
}

/// Reads a pull request as GitHub writes it.
fn seen(body: &Value) -> Option<Seen> {
    let text = |at: &str| body.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let state = match text("/state")?.as_str() {
        _ if text("/merged_at").is_some() => PullRequestState::Merged { commit: text("/merge_commit_sha") },
        "open" => PullRequestState::Open,
        _ => PullRequestState::Closed,
    };
    let pull_request = PullRequest { number: body.get("number")?.as_u64()?, url: text("/html_url")?, state };
    Some(Seen {
        pull_request,
        head: text("/head/sha"),
        node: text("/node_id"),
        merges_itself: body.get("auto_merge").is_some_and(Value::is_object),
    })
}
