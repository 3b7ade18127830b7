//! A real smart HTTP server for tests: `git http-backend` behind Basic authentication, with faults on demand.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::serve::Listener;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::Runtime;

/// What the only user is called.
pub(crate) const USER: &str = "ann";
/// The user's password, with characters that need care.
pub(crate) const PASSWORD: &str = "s3:cr/et";

/// Serves all repositories in a folder until it is dropped.
pub(crate) struct GitServer {
    pub(crate) address: SocketAddr,
    /// `http` or `https`, and the name that the certificate is for.
    begin: String,
    pub(crate) faults: Arc<Faults>,
    // Dropped last; ends the server.
    _runtime: Runtime,
}

/// What goes wrong, and what was asked for.
#[derive(Default)]
pub(crate) struct Faults {
    /// Called once, after the server's references were read and before a push is carried out.
    pub(crate) before_push: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Called once, before the server's references are read for a push.
    pub(crate) before_refs: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Carry pushes out, then break the connection instead of answering.
    pub(crate) lose_answers: Mutex<bool>,
    /// Answer everything with this, after the password was checked.
    pub(crate) answer: Mutex<Option<(u16, String)>>,
    /// Answer never.
    pub(crate) hang: Mutex<bool>,
    /// Let in who shows this token too.
    pub(crate) bearer: Mutex<Option<String>>,
    /// Redirect every GET to this host and path.
    pub(crate) redirect: Mutex<Option<String>>,
    /// The requests so far, `METHOD path status`.
    pub(crate) log: Mutex<Vec<String>>,
}

impl GitServer {
    /// Serves `root`; every request needs the password.
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_on(root, "http://127.0.0.1", |listener| listener)
    }

    /// The same through whatever is put around the connections.
    pub(crate) fn start_on<L>(root: &Path, begin: &str, around: impl FnOnce(TcpListener) -> L) -> Self
    where
        L: Listener,
        L::Addr: std::fmt::Debug,
    {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let faults = Arc::new(Faults::default());
        let state = Arc::new(Server { root: root.to_path_buf(), faults: Arc::clone(&faults) });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(serve).with_state(state);
        let listener = around(listener);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, begin: begin.to_owned(), faults, _runtime: runtime }
    }

    /// The URL of a repository, without user and password.
    pub(crate) fn url(&self, repository: &str) -> String {
        format!("{}:{}/{repository}", self.begin, self.address.port())
    }

    /// The requests so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.faults.log.lock().unwrap().clone()
    }
}

struct Server {
    root: PathBuf,
    faults: Arc<Faults>,
}

async fn serve(
    State(server): State<Arc<Server>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let line = format!("{method} {uri}");
    let response = answer(&server, method, uri, &headers, body).await;
    server.faults.log.lock().unwrap().push(format!("{line} {}", response.status().as_u16()));
    response
}

async fn answer(server: &Server, method: Method, uri: Uri, headers: &HeaderMap, body: Bytes) -> Response {
    let faults = &server.faults;
    if *faults.hang.lock().unwrap() {
        std::future::pending::<()>().await;
    }
    if let Some(to) =
        faults.redirect.lock().unwrap().clone().filter(|to| {
            method == Method::GET && !(to.starts_with('/') && uri.path().starts_with(to.as_str()))
        })
    {
        let path = uri.path_and_query().map_or("", |p| p.as_str());
        let location =
            if to.starts_with('/') { path.replace("/old.git", &to) } else { format!("{to}{path}") };
        return plain(StatusCode::MOVED_PERMANENTLY, "", &[(header::LOCATION, &location)]);
    }
    let expected = reqwest::Client::new().get("http://x").basic_auth(USER, Some(PASSWORD)).build().unwrap();
    let shown = headers.get(header::AUTHORIZATION);
    let bearer = faults.bearer.lock().unwrap().clone().map(|token| format!("Bearer {token}"));
    let is_let_in = bearer.is_some_and(|bearer| shown.is_some_and(|shown| shown == bearer.as_str()));
    if !is_let_in && shown != expected.headers().get(header::AUTHORIZATION) {
        let realm = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
        return plain(StatusCode::UNAUTHORIZED, "wrong name or password\n", &realm);
    }
    if let Some((status, text)) = faults.answer.lock().unwrap().clone() {
        return plain(StatusCode::from_u16(status).unwrap(), &text, &[(header::RETRY_AFTER, "7")]);
    }
    let is_push = method == Method::POST && uri.path().ends_with("/git-receive-pack");
    let is_look = uri.query() == Some("service=git-receive-pack");
    for (is_now, fault) in [(is_push, &faults.before_push), (is_look, &faults.before_refs)] {
        let first = if is_now { fault.lock().unwrap().take() } else { None };
        if let Some(before) = first {
            before();
        }
    }
    let response = backend(&server.root, &method, &uri, headers, body).await;
    if is_push && *faults.lose_answers.lock().unwrap() {
        let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("lost")) });
        return Response::builder()
            .header(header::CONTENT_TYPE, "application/x-git-receive-pack-result")
            .body(Body::from_stream(broken))
            .unwrap();
    }
    response
}

fn plain(status: StatusCode, text: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, "text/plain");
    for (name, value) in headers {
        response = response.header(name, *value);
    }
    response.body(Body::from(text.to_owned())).unwrap()
}

/// Runs `git http-backend` as a CGI program.
async fn backend(root: &Path, method: &Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Response {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TEST_FSYNC", "0")
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", method.as_str())
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("REMOTE_USER", USER)
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = tokio::spawn(async move {
        drop(stdin.write_all(&body).await);
    });
    let output = child.wait_with_output().await.unwrap().stdout;
    write.await.unwrap();
    let end = output.windows(4).position(|w| w == b"\r\n\r\n").expect("a CGI answer has headers");
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            name => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).unwrap()
}
