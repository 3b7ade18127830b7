//! Repositories over HTTP, the way a forge serves them: Git's own `http-backend` behind Basic authentication.
//!
//! Nobody may rewrite or delete a branch. Every push is written down, and a scenario can act just before a push
//! is handed on to Git, or just after it, before the answer goes out.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::developer::git;

/// An account of the server.
pub(crate) struct Account {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
    /// The header that its clients send.
    basic: &'static str,
    may_push: bool,
}

/// May read only.
pub(crate) const READER: Account = Account {
    name: "reader",
    password: "reader-secret",
    basic: "Basic cmVhZGVyOnJlYWRlci1zZWNyZXQ=",
    may_push: false,
};

/// May push: what the daemon is given.
pub(crate) const WRITER: Account = Account {
    name: "writer",
    password: "writer-secret",
    basic: "Basic d3JpdGVyOndyaXRlci1zZWNyZXQ=",
    may_push: true,
};

/// Far more than any scenario's repository.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A reference that a push over HTTP moved or tried to move.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) at: Timestamp,
    pub(crate) repository: String,
    pub(crate) reference: String,
    pub(crate) new: String,
    pub(crate) accepted: bool,
}

/// When a scenario wants to act on a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The request is complete, and Git hasn't seen it.
    Before,
    /// Git has taken it, and the answer hasn't gone out.
    After,
}

/// What becomes of a push after a scenario acted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on as if nothing had happened.
    GoOn,
    /// It gets lost: Git never sees it, or its sender never hears the answer.
    Lose,
}

type Action = Box<dyn FnOnce() -> BoxFuture<'static, Result<Then>> + Send>;

struct Hook {
    repository: String,
    reference: String,
    moment: Moment,
    action: Action,
}

struct Shared {
    root: PathBuf,
    pushes: Mutex<Vec<Push>>,
    hooks: Mutex<Vec<Hook>>,
}

/// The server; it ends with the runtime.
pub(crate) struct GitServer {
    url: String,
    shared: Arc<Shared>,
}

impl GitServer {
    pub(crate) async fn start(dir: &Path) -> Result<Self> {
        let root = dir.join("git");
        fs::create_dir_all(&root)?;
        let shared = Arc::new(Shared { root, pushes: Mutex::default(), hooks: Mutex::default() });
        let app = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url, shared })
    }

    /// Makes an empty repository with the branch `main`; returns its folder.
    pub(crate) async fn create(&self, name: &str) -> Result<PathBuf> {
        let folder = self.shared.root.join(format!("{name}.git"));
        let path = folder.to_string_lossy();
        git(&self.shared.root, &["init", "--quiet", "--bare", "--initial-branch=main", &path]).await?;
        for setting in ["receive.denyNonFastForwards", "receive.denyDeletes", "http.receivepack"] {
            git(&folder, &["config", setting, "true"]).await?;
        }
        Ok(folder)
    }

    /// Where clients find a repository.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}/{name}.git", self.url)
    }

    /// Every push to a repository so far, in order.
    pub(crate) fn pushes(&self, repository: &str) -> Vec<Push> {
        let pushes = self.shared.pushes.lock().expect("nobody panics with this lock");
        pushes.iter().filter(|push| push.repository == repository).cloned().collect()
    }

    /// Acts once, on the next push to `main` of a repository.
    pub(crate) fn on_push(
        &self,
        repository: &str,
        moment: Moment,
        action: impl FnOnce() -> BoxFuture<'static, Result<Then>> + Send + 'static,
    ) {
        let (repository, reference) = (repository.to_owned(), "refs/heads/main".to_owned());
        let hook = Hook { repository, reference, moment, action: Box::new(action) };
        self.shared.hooks.lock().expect("nobody panics with this lock").push(hook);
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    // In a task of its own: a client that is killed takes its connection's handler along, but not a push under way.
    let served = tokio::spawn(async move { shared.answer(request).await }).await;
    match served {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            eprintln!("git server: {error:#}");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the git server panicked\n").into_response(),
    }
}

impl Shared {
    async fn answer(&self, request: Request) -> Result<Response> {
        let (head, body) = request.into_parts();
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let authorization = header(header::AUTHORIZATION);
        let Some(account) = [&READER, &WRITER].into_iter().find(|account| account.basic == authorization)
        else {
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
            return Ok((StatusCode::UNAUTHORIZED, ask, "who are you?\n").into_response());
        };
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let pushing = path.ends_with("/git-receive-pack");
        if (pushing || query.contains("git-receive-pack")) && !account.may_push {
            return Ok((StatusCode::FORBIDDEN, "you may only read\n").into_response());
        }

        let mut backend = Command::new("git");
        backend
            .arg("http-backend")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", head.method.as_str())
            .env("PATH_INFO", &path)
            .env("QUERY_STRING", query)
            .env("REMOTE_USER", account.name)
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
            .env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING))
            .env("GIT_PROTOCOL", header(header::HeaderName::from_static("git-protocol")));
        let body = to_bytes(body, BODY_BYTES_MAX).await.context("reading a request")?;
        backend.env("CONTENT_LENGTH", body.len().to_string());
        if !pushing {
            return run_cgi(backend, &body).await;
        }

        let repository = path.split('/').nth(1).unwrap_or_default().trim_end_matches(".git").to_owned();
        let commands = commands(&body);
        if self.act(&repository, &commands, Moment::Before).await? == Then::Lose {
            return Ok((StatusCode::BAD_GATEWAY, "lost before Git saw it\n").into_response());
        }
        let response = run_cgi(backend, &body).await?;
        let (head, answer) = response.into_parts();
        let answer = to_bytes(answer, BODY_BYTES_MAX).await?;
        self.note(&repository, &commands, &answer);
        if self.act(&repository, &commands, Moment::After).await? == Then::Lose {
            return Ok((StatusCode::BAD_GATEWAY, "lost after Git took it\n").into_response());
        }
        Ok(Response::from_parts(head, Body::from(answer)))
    }

    /// Runs what a scenario has waiting for this push.
    async fn act(
        &self,
        repository: &str,
        commands: &BTreeMap<String, String>,
        moment: Moment,
    ) -> Result<Then> {
        let hook = {
            let mut hooks = self.hooks.lock().expect("nobody panics with this lock");
            let waiting = |hook: &Hook| {
                hook.repository == repository
                    && hook.moment == moment
                    && commands.contains_key(&hook.reference)
            };
            hooks.iter().position(waiting).map(|index| hooks.remove(index))
        };
        match hook {
            Some(hook) => (hook.action)().await,
            None => Ok(Then::GoOn),
        }
    }

    fn note(&self, repository: &str, commands: &BTreeMap<String, String>, answer: &[u8]) {
        // The report inside may be wrapped in side-band packets, but its lines are too short to be split.
        let answer = String::from_utf8_lossy(answer);
        let mut pushes = self.pushes.lock().expect("nobody panics with this lock");
        for (reference, new) in commands {
            pushes.push(Push {
                at: Timestamp::now(),
                repository: repository.to_owned(),
                reference: reference.clone(),
                new: new.clone(),
                accepted: answer.contains(&format!("ok {reference}")),
            });
        }
    }
}

/// The references that a push names and what they should become: packets of `<length><old> <new> <ref>[\0<abilities>]`.
fn commands(body: &[u8]) -> BTreeMap<String, String> {
    let mut commands = BTreeMap::new();
    let mut rest = body;
    while let Some((length, after)) = rest.split_at_checked(4) {
        let length =
            std::str::from_utf8(length).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some((packet, next)) = length.and_then(|length| after.split_at_checked(length.checked_sub(4)?))
        else {
            break;
        };
        let packet = String::from_utf8_lossy(packet);
        let line = packet.split('\0').next().unwrap_or_default();
        if let [_, new, reference] = line.split_whitespace().collect::<Vec<_>>().as_slice() {
            commands.insert((*reference).to_owned(), (*new).to_owned());
        }
        rest = next;
    }
    commands
}

/// Runs a CGI program and turns its output into an answer.
async fn run_cgi(mut program: Command, body: &[u8]) -> Result<Response> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = program.spawn().context("starting git http-backend")?;
    let mut stdin = child.stdin.take().context("git http-backend has no input")?;
    let write = async move {
        // It may refuse a request without reading it to the end.
        stdin.write_all(body).await.ok();
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.context("reading from git http-backend")?;
    let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let end =
        end.with_context(|| format!("git http-backend gave no answer ({}): {stderr}", output.status))?;
    let (head, rest) = output.stdout.split_at(end);
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(head).lines() {
        let (name, value) = line.split_once(':').with_context(|| format!("`{line}` is no header"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("Status") {
            let code = value.split(' ').next().unwrap_or_default();
            response = response.status(code);
        } else {
            response = response.header(name, value);
        }
    }
    ensure!(rest.len() >= 4, "an answer of git http-backend ends too early");
    let body = rest.get(4..).unwrap_or_default().to_vec();
    Ok(response.body(Body::from(body))?)
}
