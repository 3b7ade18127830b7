//! Gitea and Forgejo: their REST API.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::address::Address;
use super::caller::{Answer, Call, Caller};
use super::error::ForgeError;
use super::proposal::Proposal;
use super::{Api, Seen};
use crate::act::git::Access;
use crate::engine::forge::{MergeMethod, PullRequest, PullRequestState};

/// What a token must be allowed to do.
const NEEDS: &str = "`repository` and `issue`, both read and write";

/// Labels on one page, the most that Gitea gives by default.
const PAGE_SIZE: usize = 50;
/// Pages of labels that are read; who has more of them than that names one of the first.
const PAGES_MAX: usize = 10;
/// The colour of a label that is made: Gitea wants one.
const LABEL_COLOUR: &str = "#e11d21";

#[derive(Debug)]
pub(super) struct Gitea {
    caller: Caller,
    owner: String,
    repository: String,
}

impl Gitea {
    pub(super) fn new(address: &Address, access: &Access) -> Result<Self, ForgeError> {
        let [owner, repository] = address.project.as_slice() else {
            return Err(ForgeError::unusable(&access.url, "a repository at Gitea has an owner and a name"));
        };
        // A name with a password or a token is taken as it is for Git.
        let caller = Caller::new(address.api.clone(), access, access.auth.clone(), NEEDS)?;
        Ok(Self { caller, owner: owner.clone(), repository: repository.clone() })
    }

    fn call<'a>(&'a self, method: Method, path: impl IntoIterator<Item = &'a str>) -> Call {
        Call::new(method, ["repos", &self.owner, &self.repository].into_iter().chain(path))
    }

    fn read(&self, body: &Value) -> Result<Seen, ForgeError> {
        seen(body).ok_or_else(|| self.caller.strange("a pull request lacks its number, URL or state"))
    }

    /// The number of a label: the repository's own, else its organisation's, else a new one.
    async fn label_id(&self, name: &str) -> Result<u64, ForgeError> {
        let labels = self.call(Method::GET, ["labels"]);
        if let Some(id) = self.look_up(labels, name).await? {
            return Ok(id);
        }
        // A person has no such labels, and is not found here.
        let labels = Call::new(Method::GET, ["orgs", &self.owner, "labels"]);
        match self.look_up(labels, name).await {
            Ok(Some(id)) => return Ok(id),
            Ok(None) | Err(ForgeError::NotFound { .. } | ForgeError::NotAuthorised { .. }) => {}
            Err(error) => return Err(error),
        }
        let body = json!({ "name": name, "color": LABEL_COLOUR });
        let made = self.caller.get(&self.call(Method::POST, ["labels"]).body(body)).await?;
        made.get("id").and_then(Value::as_u64).ok_or_else(|| self.caller.strange("a new label has no number"))
    }

    async fn look_up(&self, labels: Call, name: &str) -> Result<Option<u64>, ForgeError> {
        for page in 1..=PAGES_MAX {
            let call = labels.clone().query("page", page.to_string()).query("limit", PAGE_SIZE.to_string());
            let list = self.caller.get(&call).await?;
            let list = list.as_array().ok_or_else(|| self.caller.strange("a list was expected"))?;
            let same = |label: &&Value| label.get("name").and_then(Value::as_str) == Some(name);
            if let Some(label) = list.iter().find(same) {
                return Ok(label.get("id").and_then(Value::as_u64));
            }
            if list.len() < PAGE_SIZE {
                break;
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Api for Gitea {
    async fn find(&self, base: &str, branch: &str) -> Result<Option<Seen>, ForgeError> {
        let path = ["pulls", base].into_iter().chain(branch.split('/'));
        let found = self.caller.get_unless(&self.call(Method::GET, path), Answer::is_not_found).await?;
        found.map(|body| self.read(&body)).transpose()
    }

    async fn open(&self, proposal: &Proposal) -> Result<Option<Seen>, ForgeError> {
        let call = self.call(Method::POST, ["pulls"]).body(json!({
            "title": proposal.title,
            "body": proposal.body,
            "head": proposal.branch,
            "base": proposal.base,
        }));
        let opened = self.caller.get_unless(&call, Answer::is_conflict).await?;
        opened.map(|body| self.read(&body)).transpose()
    }

    async fn label(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        let mut ids = Vec::new();
        for name in labels {
            ids.push(self.label_id(name).await?);
        }
        let number = number.to_string();
        let call = self.call(Method::POST, ["issues", &number, "labels"]).body(json!({ "labels": ids }));
        self.caller.get(&call).await.map(drop)
    }

    async fn ask_for_review(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        let (teams, people): (Vec<_>, Vec<_>) = reviewers.iter().partition(|name| name.contains('/'));
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
        let number = seen.pull_request.number.to_string();
        let style = match method {
            MergeMethod::Merge => "merge",
            MergeMethod::Squash => "squash",
            MergeMethod::Rebase => "rebase",
        };
        let mut call = self.call(Method::POST, ["pulls", &number, "merge"]).body(json!({
            // Older versions know it by a capital letter only, and newer ones by both.
            "Do": style,
            "merge_when_checks_succeed": true,
            "delete_branch_after_merge": true,
            "head_commit_id": seen.head,
        }));
        if method == MergeMethod::Squash {
            // Else the squashed commit has a title only, and does not say whose rollback it is.
            let (title, body) = (&proposal.title, &proposal.body);
            call = call.body(json!({ "MergeTitleField": title, "MergeMessageField": body }));
        }
        // It does not tell whether it was asked before.
        let asked_before = |answer: &Answer| answer.is_conflict() && answer.says("already scheduled");
        self.caller.get_unless(&call, asked_before).await.map(drop)
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
        let path = ["branches"].into_iter().chain(branch.split('/'));
        self.caller.get_unless(&self.call(Method::DELETE, path), Answer::is_not_found).await.map(drop)
    }
}

/// Reads a pull request as Gitea writes it.
fn seen(body: &Value) -> Option<Seen> {
    let text = |at: &str| body.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let state = match text("/state")?.as_str() {
        _ if body.get("merged").and_then(Value::as_bool) == Some(true) => {
            PullRequestState::Merged { commit: text("/merge_commit_sha") }
        }
        "open" => PullRequestState::Open,
        _ => PullRequestState::Closed,
    };
    let pull_request = PullRequest { number: body.get("number")?.as_u64()?, url: text("/html_url")?, state };
    Some(Seen { pull_request, head: text("/head/sha"), node: None, merges_itself: false })
}
