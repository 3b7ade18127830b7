//! The smart protocol over HTTP: one GET to see what the server has, then a POST for each step.

use std::error::Error as _;
use std::future::Future;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, NoProxy, Proxy, Response, StatusCode, Url, redirect};

use super::access::{Access, Auth, Secret};
use super::advert::Filtered;
use super::error::{Class, Failure, WORDS_CHARS_MAX};
use super::transport::{Session, runtime};
use crate::tls;

/// Redirects that are followed; a moved repository needs one, a moved host one more.
const REDIRECTS_MAX: u32 = 3;
/// Bytes taken from one answer: more history than this is not fetched within any useful deadline.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Bytes sent in one request; a revert is far smaller, and it is held in memory.
const REQUEST_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long to wait for a connection, so that a dead host is known before the deadline of a whole fetch.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Forges serve the protocol only to programs that call themselves Git.
const USER_AGENT: &str = concat!("git/2.0 (lastgood ", env!("CARGO_PKG_VERSION"), ")");

/// A connection for one fetch or one push.
pub(crate) struct Http {
    session: Arc<Session>,
    /// Where the server really is: found by the first GET, since a redirected POST would become a GET.
    base: Mutex<Option<String>>,
}

impl Http {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, base: Mutex::default() }
    }

    fn start(&self, url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, Failure> {
        let name = service_name(service);
        let known = self.base.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let base = known.unwrap_or_else(|| url.trim_end_matches('/').to_owned());
        match service {
            Service::UploadPackLs | Service::ReceivePackLs => Ok(Box::new(self.list(&base, name)?)),
            Service::UploadPack | Service::ReceivePack => Ok(Box::new(self.exchange(&base, name))),
        }
    }

    /// Asks what the server has, and finds out where it really is.
    fn list(&self, base: &str, name: &str) -> Result<Filtered<Answer>, Failure> {
        let (response, base) = wait(&self.session, advertisement(&self.session, base, name))?;
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = Some(base);
        let answer = Answer::new(Arc::clone(&self.session), response);
        let session = Arc::clone(&self.session);
        let fail = move |failure| to_io(&session, failure);
        Ok(Filtered::new(answer, self.session.wanted(), fail))
    }

    fn exchange(&self, base: &str, name: &'static str) -> Exchange {
        let (session, url) = (Arc::clone(&self.session), format!("{base}/{name}"));
        Exchange { session, url, name, request: Vec::new(), answer: None }
    }
}

impl SmartSubtransport for Http {
    fn action(&self, url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        self.start(url, service).map_err(|failure| self.session.fail(failure).to_git2())
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// Opens a session for a push; gives the references that it is about, and where to go on.
pub(crate) fn open_push(
    session: &Arc<Session>,
) -> Result<(Vec<(String, String)>, impl Read + Write), Failure> {
    let http = Http::new(Arc::clone(session));
    let name = service_name(Service::ReceivePack);
    let url = session.access.url.trim_end_matches('/');
    let list = http.list(url, name).map_err(|failure| session.fail(failure));
    let kept = list?.list().map_err(|e| session.explain_io(&e))?;
    let base = http.base.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((kept, http.exchange(&base.unwrap_or_else(|| url.to_owned()), name)))
}

/// The references that the session is about, as a fetch would find them.
pub(crate) fn list(session: &Arc<Session>) -> Result<Vec<(String, String)>, Failure> {
    let http = Http::new(Arc::clone(session));
    let url = session.access.url.trim_end_matches('/');
    let list = http.list(url, service_name(Service::UploadPackLs)).map_err(|failure| session.fail(failure));
    list?.list().map_err(|e| session.explain_io(&e))
}

fn service_name(service: Service) -> &'static str {
    match service {
        Service::UploadPackLs | Service::UploadPack => "git-upload-pack",
        Service::ReceivePackLs | Service::ReceivePack => "git-receive-pack",
    }
}

/// One request and its answer: written first, sent when the answer is read.
struct Exchange {
    session: Arc<Session>,
    url: String,
    name: &'static str,
    request: Vec<u8>,
    answer: Option<Answer>,
}

impl Exchange {
    async fn send(&self, body: Vec<u8>) -> Result<Response, Failure> {
        let response = request(&self.session, Method::POST, &self.url)?
            .header(CONTENT_TYPE, format!("application/x-{}-request", self.name))
            .header(ACCEPT, format!("application/x-{}-result", self.name))
            .body(body)
            .send()
            .await
            .map_err(unreachable)?;
        accepted(&self.session, response, &format!("application/x-{}-result", self.name)).await
    }
}

impl Read for Exchange {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.answer.is_none() {
            let body = std::mem::take(&mut self.request);
            let response =
                wait(&self.session, self.send(body)).map_err(|failure| to_io(&self.session, failure))?;
            self.answer = Some(Answer::new(Arc::clone(&self.session), response));
        }
        self.answer.as_mut().map_or(Ok(0), |answer| answer.read(buf))
    }
}

impl Write for Exchange {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.request.len().saturating_add(buf.len()) > REQUEST_BYTES_MAX {
            let why = format!("the request is larger than {REQUEST_BYTES_MAX} bytes");
            return Err(to_io(&self.session, Failure::new(Class::Other, why)));
        }
        self.request.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer as it comes in.
struct Answer {
    session: Arc<Session>,
    response: Response,
    chunk: io::Cursor<Vec<u8>>,
    taken: u64,
}

impl Answer {
    fn new(session: Arc<Session>, response: Response) -> Self {
        Self { session, response, chunk: io::Cursor::default(), taken: 0 }
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let response = &mut self.response;
        let chunk = wait(&self.session, async { response.chunk().await.map_err(unreachable) })?;
        let chunk = chunk.map(Vec::from);
        self.taken += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.taken > ANSWER_BYTES_MAX {
            let why = format!("the server's answer is larger than {ANSWER_BYTES_MAX} bytes");
            return Err(Failure::new(Class::Other, why));
        }
        Ok(chunk)
    }
}

impl Read for Answer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            match self.next().map_err(|failure| to_io(&self.session, failure))? {
                Some(chunk) => self.chunk = io::Cursor::new(chunk),
                None => return Ok(0),
            }
        }
    }
}

impl Write for Answer {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("nothing can be written to an advertisement"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn to_io(session: &Session, failure: Failure) -> io::Error {
    io::Error::other(session.fail(failure).message)
}

/// Waits on this blocking thread, but not past the deadline.
fn wait<T>(session: &Session, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime()?.block_on(async {
        match tokio::time::timeout_at(session.deadline.into(), work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(Class::Unreachable, "the time was up")),
        }
    })
}

/// Asks for the server's references, following redirects; gives the URL that it was found at in the end.
async fn advertisement(session: &Session, base: &str, name: &str) -> Result<(Response, String), Failure> {
    let suffix = format!("/info/refs?service={name}");
    let mut url = parse(&format!("{base}{suffix}"))?;
    for _ in 0..=REDIRECTS_MAX {
        let kind = format!("application/x-{name}-advertisement");
        let asked = request(session, Method::GET, url.as_str())?.header(ACCEPT, &kind).send();
        let Ok(response) = tokio::time::timeout(session.first_byte, asked).await else {
            let why = format!("no answer within {:?}", session.first_byte);
            return Err(Failure::new(Class::Unreachable, why));
        };
        let response = response.map_err(unreachable)?;
        if !response.status().is_redirection() {
            let Some(base) = url.as_str().strip_suffix(&suffix).map(str::to_owned) else {
                return Err(Failure::new(
                    Class::NotFound,
                    "the server redirects to what is not a repository",
                ));
            };
            return Ok((accepted(session, response, &kind).await?, base));
        }
        let next = response.headers().get(LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok());
        let next = next.ok_or_else(|| Failure::new(Class::Other, "a redirect without a location"))?;
        let anonymous = session.access.auth == Auth::None && session.access.client_cert_pem.is_none();
        if !may_follow(&url, &next, anonymous) {
            let to = format!("{}://{}", next.scheme(), next.host_str().unwrap_or_default());
            let why = format!("the server redirects to {to}, which is not followed; correct the URL");
            return Err(Failure::new(Class::Other, why));
        }
        url = next;
    }
    Err(Failure::new(Class::Other, format!("more than {REDIRECTS_MAX} redirects")))
}

/// Whether a redirect may be followed: never to less protection, and with credentials never to another host.
pub(crate) fn may_follow(from: &Url, to: &Url, anonymous: bool) -> bool {
    let upgraded = from.scheme() == "http" && to.scheme() == "https";
    let same_scheme = from.scheme() == to.scheme();
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    // Another port is another server, but for the two that belong together.
    let same_port = same_port || (upgraded && from.port().is_none() && to.port().is_none());
    let same_host = from.host_str() == to.host_str() && same_port;
    let no_userinfo = to.username().is_empty() && to.password().is_none();
    (same_scheme || upgraded) && (anonymous || same_host) && no_userinfo
}

fn parse(url: &str) -> Result<Url, Failure> {
    Url::parse(url).map_err(|e| Failure::new(Class::Other, format!("the URL cannot be read: {e}")))
}

fn request(session: &Session, method: Method, url: &str) -> Result<reqwest::RequestBuilder, Failure> {
    let request = client(session)?.request(method, parse(url)?);
    Ok(match &session.access.auth {
        Auth::Basic { username, password } => request.basic_auth(username, Some(password.reveal())),
        Auth::Bearer(token) => request.bearer_auth(token.reveal()),
        Auth::None | Auth::SshKey { .. } => request,
    })
}

fn client(session: &Session) -> Result<&Client, Failure> {
    if let Some(client) = session.http.get() {
        return Ok(client);
    }
    let client = build(&session.access).map_err(|why| {
        Failure::new(Class::Other, format!("the certificates or the proxy cannot be used: {why}"))
    })?;
    Ok(session.http.get_or_init(|| client))
}

/// A client that trusts, proves and goes through what `access` says, and follows no redirect by itself.
pub(crate) fn build(access: &Access) -> Result<Client, String> {
    let text = |e: reqwest::Error| causes(&e.without_url());
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT);
    let client_cert = access.client_cert_pem.as_ref().map(Secret::reveal);
    match (&access.ca_pem, client_cert) {
        // As Argo CD does: who gives a server's certificates means these and no others.
        (Some(pem), client_cert) if !access.insecure => {
            builder = builder.tls_backend_preconfigured(tls::config(pem, client_cert)?);
        }
        (_, client_cert) => {
            builder = builder.tls_danger_accept_invalid_certs(access.insecure);
            if let Some(pem) = client_cert {
                builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).map_err(text)?);
            }
        }
    }
    if let Some(proxy) = &access.proxy {
        let except = access.no_proxy.as_deref().unwrap_or_default();
        // reqwest takes a star for names only, and Argo CD for addresses too.
        builder = if except.split(',').any(|host| host.trim() == "*") {
            builder.no_proxy()
        } else {
            builder.proxy(Proxy::all(proxy.reveal()).map_err(text)?.no_proxy(NoProxy::from_string(except)))
        };
    }
    builder.build().map_err(text)
}

/// Lets an answer through if it is what was asked for, else says why it is not, in the server's own words.
async fn accepted(session: &Session, response: Response, kind: &str) -> Result<Response, Failure> {
    let status = response.status();
    let given = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let given = given.to_owned();
    if status == StatusCode::OK {
        if given.split(';').next().is_some_and(|given| given.trim() == kind) {
            return Ok(response);
        }
        let why = format!(
            "the server answers with `{given}`, not with Git's smart protocol; is this a repository?"
        );
        return Err(Failure::new(Class::NotFound, why));
    }
    let class = match status.as_u16() {
        401 | 403 | 407 => Class::NotAuthorised,
        404 | 410 => Class::NotFound,
        408 | 429 | 500.. => Class::Unreachable,
        _ => Class::Other,
    };
    let mut message = format!("the server answered {status}");
    if let Some(after) = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()) {
        message += &format!(" (retry after {after})");
    }
    if class == Class::NotAuthorised && session.access.auth == Auth::None {
        message += " and no credentials are known";
    }
    let words = if given.starts_with("text/html") { String::new() } else { words(response).await };
    // Before it is cut off, so that no half of a password is left.
    let words = session.access.hush(&words);
    if !words.trim().is_empty() {
        message = format!("{message}: {}", words.trim());
    }
    Err(Failure::new(class, message))
}

/// The beginning of an answer's text.
async fn words(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < 4 * WORDS_CHARS_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(4 * WORDS_CHARS_MAX);
    String::from_utf8_lossy(&bytes).into_owned()
}

// By value for `map_err`; the URL is left out since the caller names it, without what it may hold.
fn unreachable(error: reqwest::Error) -> Failure {
    Failure::new(Class::Unreachable, causes(&error.without_url()))
}

/// The error with all of its causes: reqwest's own text says little.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::advert::Wanted;
    use super::super::transport;
    use super::*;

    #[test]
    fn a_server_that_accepts_and_is_silent_is_left_before_the_deadline() {
        transport::init().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a.git", listener.local_addr().unwrap());
        let session = Session::new(&Access::new(&url), Instant::now() + Duration::from_secs(60));
        let mut session = Arc::into_inner(session).unwrap();
        session.first_byte = Duration::from_millis(50);
        session.begin(Wanted::default());
        let started = Instant::now();
        let failure = Http::new(Arc::new(session)).start(&url, Service::UploadPackLs).err().unwrap();
        assert_eq!(failure.class, Class::Unreachable);
        assert!(failure.message.contains("no answer within 50ms"), "{}", failure.message);
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn redirects_never_leave_the_host_with_credentials() {
        for (from, to, with_credentials, anonymous) in [
            ("https://a/x", "https://a/y", true, true),
            ("https://a/x", "https://a:8443/y", false, true),
            ("https://a/x", "https://b/x", false, true),
            ("https://a/x", "http://a/x", false, false),
            ("http://a/x", "https://a/x", true, true),
            ("http://a/x", "https://a:8443/x", false, true),
            ("http://a:8080/x", "https://a/x", false, true),
            ("http://a/x", "https://b/x", false, true),
            ("https://a/x", "https://u:p@a/x", false, false),
            ("https://a/x", "file:///x", false, false),
        ] {
            let (a, b) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
            assert_eq!(
                (may_follow(&a, &b, false), may_follow(&a, &b, true)),
                (with_credentials, anonymous),
                "{from} to {to}"
            );
        }
    }
}
