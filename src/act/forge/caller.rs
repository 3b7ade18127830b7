//! Calls of a forge's API: JSON over HTTP, each bounded in time and size, with the token for this forge only.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::Value;

use super::address::extend;
use super::error::ForgeError;
use crate::act::git::http::{build, causes, may_follow};
use crate::act::git::message::one_line;
use crate::act::git::{Access, Auth};

/// How long one call may take: forges answer within a second, and some work needs five of them.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Bytes taken from one answer; a page of pull requests with their repositories is a tenth of that.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most that is kept of a forge's words, in characters.
const WORDS_CHARS_MAX: usize = 300;
/// Redirects that are followed: a renamed repository needs one.
const REDIRECTS_MAX: u32 = 3;

/// What one call sends.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    /// The path below the API's address, part by part.
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Call {
    pub(super) fn new<'a>(method: Method, path: impl IntoIterator<Item = &'a str>) -> Self {
        let path = path.into_iter().map(str::to_owned).collect();
        Self { method, path, query: Vec::new(), body: None }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds to the body, an object.
    pub(super) fn body(mut self, body: Value) -> Self {
        match (self.body.as_mut().and_then(Value::as_object_mut), body) {
            (Some(there), Value::Object(more)) => there.extend(more),
            (_, body) => self.body = Some(body),
        }
        self
    }
}

/// An answer: its status and what it says.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `null` where the body is no JSON.
    pub(super) body: Value,
    /// The forge's words about a failure, shortened.
    words: String,
}

/// Calls one forge.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client,
    pub(super) api: Url,
    auth: Auth,
    /// What must not be told, should the forge repeat it.
    access: Access,
    /// What the token must be allowed to do, for messages.
    needs: &'static str,
}

impl Caller {
    /// `access` is that of the repository's page; its credentials go to `api` and nowhere else.
    pub(super) fn new(
        api: Url,
        access: &Access,
        auth: Auth,
        needs: &'static str,
    ) -> Result<Self, ForgeError> {
        let client = build(access).map_err(|why| {
            let reason = format!("the certificates or the proxy cannot be used: {why}");
            ForgeError::unusable(&access.url, reason)
        })?;
        Ok(Self { client, api, auth, access: access.clone(), needs })
    }

    /// Calls, and gives the answer whatever its status.
    pub(super) async fn ask(&self, call: &Call) -> Result<Answer, ForgeError> {
        match tokio::time::timeout(CALL_MAX, self.exchange(call)).await {
            Ok(answer) => answer,
            Err(_) => {
                let message = format!("nothing came within {} s", CALL_MAX.as_secs());
                Err(ForgeError::Unreachable { forge: self.forge(), message })
            }
        }
    }

    /// Calls, and gives what a successful answer says.
    pub(super) async fn get(&self, call: &Call) -> Result<Value, ForgeError> {
        let answer = self.ask(call).await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(self.failure(&answer)) }
    }

    /// The body of a success; none for the one failure that is expected.
    pub(super) async fn get_unless(
        &self,
        call: &Call,
        expected: impl FnOnce(&Answer) -> bool + Send,
    ) -> Result<Option<Value>, ForgeError> {
        let answer = self.ask(call).await?;
        if answer.status.is_success() {
            Ok(Some(answer.body))
        } else if expected(&answer) {
            Ok(None)
        } else {
            Err(self.failure(&answer))
        }
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, ForgeError> {
        let mut url = self.api.clone();
        extend(&mut url, call.path.iter().map(String::as_str));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(call, url.clone()).await?;
            let status = response.status();
            // The older codes turn everything into a GET; the newer ones keep the method.
            let keeps = matches!(status.as_u16(), 307 | 308) || call.method == Method::GET;
            if !(status.is_redirection() && keeps) {
                return self.read(response).await;
            }
            let next = response.headers().get(LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok());
            url = next.filter(|next| may_follow(&url, next, false)).ok_or_else(|| {
                let message =
                    "it redirects to another place, which is not followed; correct the URL".to_owned();
                ForgeError::Strange { forge: self.forge(), message }
            })?;
        }
        let message = format!("more than {REDIRECTS_MAX} redirects");
        Err(ForgeError::Strange { forge: self.forge(), message })
    }

    async fn send(&self, call: &Call, url: Url) -> Result<Response, ForgeError> {
        let mut request = self.client.request(call.method.clone(), url).header(ACCEPT, "application/json");
        request = match &self.auth {
            Auth::Basic { username, password } => request.basic_auth(username, Some(password.reveal())),
            Auth::Bearer(token) => request.bearer_auth(token.reveal()),
            Auth::None | Auth::SshKey { .. } => request,
        };
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        request.send().await.map_err(|error| self.unreachable(error))
    }

    async fn read(&self, mut response: Response) -> Result<Answer, ForgeError> {
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if bytes.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
                let message = format!("it is larger than {ANSWER_BYTES_MAX} bytes");
                return Err(ForgeError::Strange { forge: self.forge(), message });
            }
            bytes.extend_from_slice(&chunk);
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut words = words(&body);
        if let Some(after) = after {
            words += &format!(" (retry after {after})");
        }
        Ok(Answer { status, body, words: one_line(self.access.hush(&words).trim(), WORDS_CHARS_MAX) })
    }

    /// The failure that an answer tells of.
    pub(super) fn failure(&self, answer: &Answer) -> ForgeError {
        let (forge, status) = (self.forge(), answer.status);
        let message = match answer.words.as_str() {
            "" => format!("it answered {status}"),
            words => format!("it answered {status}: {words}"),
        };
        // GitHub refuses with 403 who asks too often.
        let too_often = status == StatusCode::FORBIDDEN && answer.words.to_lowercase().contains("rate limit");
        match status.as_u16() {
            408 | 429 | 500.. => ForgeError::Unreachable { forge, message },
            _ if too_often => ForgeError::Unreachable { forge, message },
            401 | 403 => ForgeError::NotAuthorised { forge, message, needs: self.needs },
            404 | 410 => ForgeError::NotFound { forge, message },
            _ => ForgeError::Declined { forge, message },
        }
    }

    /// Says that an answer lacks something.
    pub(super) fn strange(&self, what: &str) -> ForgeError {
        ForgeError::Strange { forge: self.forge(), message: what.to_owned() }
    }

    pub(super) fn declined(&self, words: &str) -> ForgeError {
        ForgeError::Declined { forge: self.forge(), message: one_line(words, WORDS_CHARS_MAX) }
    }

    fn forge(&self) -> String {
        self.api.to_string()
    }

    // By value for `map_err`; the URL is left out, since the forge is named and the rest says nothing.
    fn unreachable(&self, error: reqwest::Error) -> ForgeError {
        if error.is_builder() {
            let reason = "the credentials hold something that no HTTP header can; is the token broken?";
            return ForgeError::unusable(self.api.as_str(), reason);
        }
        ForgeError::Unreachable { forge: self.forge(), message: causes(&error.without_url()) }
    }
}

impl Answer {
    /// The forge's words about a failure.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Whether there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// Whether it is in the way of something that is there.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }

    /// Whether the words of a failure hold this text, in whatever case.
    pub(super) fn says(&self, text: &str) -> bool {
        self.words.to_lowercase().contains(text)
    }
}

/// What forges write about a failure: `message` or `error`, as a text, a list or a map, and GitHub's `errors`.
fn words(body: &Value) -> String {
    let main = body.get("message").or_else(|| body.get("error"));
    let more = body.get("errors").and_then(Value::as_array);
    let more = more.into_iter().flatten().map(|error| error.get("message").unwrap_or(error));
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    main.into_iter().chain(more).map(text).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_forges_words_are_found() {
        for (body, expected) in [
            (json!({"message": "Not Found", "documentation_url": "…"}), "Not Found"),
            (
                json!({"message": "Validation Failed", "errors": [{"message": "A pull request already exists for a:b."}]}),
                "Validation Failed: A pull request already exists for a:b.",
            ),
            (
                json!({"message": ["Another open merge request already exists"]}),
                "[\"Another open merge request already exists\"]",
            ),
            (json!({"error": "invalid_token"}), "invalid_token"),
            (
                json!({"errors": [{"type": "UNPROCESSABLE", "message": "Pull request is in clean status"}]}),
                "Pull request is in clean status",
            ),
            (json!(null), ""),
        ] {
            assert_eq!(words(&body), expected);
        }
    }
}
