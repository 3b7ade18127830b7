//! One request to a Prometheus server: with its credentials, in its turn, within its time-out, and read up to a limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::AUTHORIZATION;
use reqwest::{StatusCode, Url};
use tokio::sync::Semaphore;

use super::credentials::{self, Material, NotRead, Reach};
use crate::credentials::{Secrets, innermost};
use crate::engine::facts::Gap;
use crate::engine::policy::{CredentialsAt, Prometheus};

/// Queries that are on their way to one server at the same time, for all applications together: a Prometheus runs
/// twenty, for everybody (`--query.max-concurrency`).
pub(super) const SERVER_CONCURRENT_MAX: usize = 10;

/// How long a query may wait for its turn. The default interval twice: past it the next measurements wait already.
const TURN_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long credentials are used before they are read anew: half of what a mounted Secret takes to change.
const CREDENTIALS_FRESH: Duration = Duration::from_secs(30);

/// How long credentials are used that cannot be read anew, since nobody knows whether they changed.
const CREDENTIALS_MAX: Duration = Duration::from_secs(600);

/// See [`Servers::retry_after`]: wrong ones must not have the API server asked for each query.
const CREDENTIALS_RETRY: Duration = Duration::from_secs(1);

/// What a server answered.
pub(super) type Answer = (StatusCode, Arc<[u8]>);

/// A method of the API with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) prometheus: Prometheus,
    pub(super) method: &'static str,
    pub(super) form: Vec<(&'static str, String)>,
    pub(super) bytes_max: usize,
}

/// All servers, and how each is reached.
pub(super) struct Servers {
    plain: Arc<Reach>,
    secrets: Option<Secrets>,
    /// How old credentials must be to be read anew because the server refuses them.
    pub(super) retry_after: Duration,
    /// By where credentials are, and for which URL.
    known: Mutex<BTreeMap<(CredentialsAt, String), Known>>,
    /// By scheme, host and port.
    turns: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// Credentials that were read.
#[derive(Clone)]
struct Known {
    material: Material,
    reach: Arc<Reach>,
    read_at: Instant,
}

impl Servers {
    pub(super) fn new(secrets: Option<Secrets>) -> Result<Self, reqwest::Error> {
        let plain = Arc::new(Reach::plain()?);
        let (known, turns) = (Mutex::default(), Mutex::default());
        Ok(Self { plain, secrets, retry_after: CREDENTIALS_RETRY, known, turns })
    }

    /// Sends a request, in its turn.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Gap> {
        let url = address(request)?;
        let turns = self.turns(&url);
        let Ok(Ok(_turn)) = tokio::time::timeout(TURN_WAIT_MAX, turns.acquire()).await else {
            return Err(Gap::TimedOut);
        };
        let timeout = request.prometheus.timeout;
        tokio::time::timeout(timeout, self.exchange(request, url)).await.unwrap_or(Err(Gap::TimedOut))
    }

    async fn exchange(&self, request: &Request, url: Url) -> Result<Answer, Gap> {
        let reach = self.reach(&request.prometheus, CREDENTIALS_FRESH).await?;
        let answer = once(&reach, request, url.clone()).await?;
        if !refuses(answer.0) {
            return Ok(answer);
        }
        // They may just have been exchanged.
        let newer = self.reach(&request.prometheus, self.retry_after).await?;
        let answer = if Arc::ptr_eq(&reach, &newer) { answer } else { once(&newer, request, url).await? };
        if refuses(answer.0) {
            let sent = if request.prometheus.credentials.is_some() {
                "refuses these"
            } else {
                "wants some, or a tenant"
            };
            return Err(Gap::Credentials(format!("the server {sent} (HTTP {})", answer.0)));
        }
        Ok(answer)
    }

    /// How to reach a server, by credentials that were read not longer ago than this.
    async fn reach(&self, prometheus: &Prometheus, fresh: Duration) -> Result<Arc<Reach>, Gap> {
        let Some(at) = &prometheus.credentials else { return Ok(Arc::clone(&self.plain)) };
        let key = (at.clone(), prometheus.url.clone());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.read_at.elapsed() < fresh) {
            return Ok(Arc::clone(&known.reach));
        }
        let material = match credentials::read(at, self.secrets.as_ref()).await {
            Ok(material) => material,
            Err(NotRead::Unknown(gap)) => {
                let known = known.filter(|known| known.read_at.elapsed() < CREDENTIALS_MAX);
                return known.map(|known| known.reach).ok_or(gap);
            }
            Err(NotRead::Wrong(gap)) => return Err(gap),
        };
        let reach = match known {
            // Keeps the connections.
            Some(known) if known.material == material => known.reach,
            _ => Reach::with(&material, prometheus)?,
        };
        let newest = Known { material, reach: Arc::clone(&reach), read_at: Instant::now() };
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| known.read_at.elapsed() < CREDENTIALS_MAX);
        all.insert(key, newest);
        Ok(reach)
    }

    fn turns(&self, url: &Url) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let of_server = turns.entry(url.origin().ascii_serialization());
        Arc::clone(of_server.or_insert_with(|| Arc::new(Semaphore::new(SERVER_CONCURRENT_MAX))))
    }
}

fn refuses(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

async fn once(reach: &Reach, request: &Request, url: Url) -> Result<Answer, Gap> {
    let Request { prometheus, form, bytes_max, .. } = request;
    // The server need not go on after we have stopped listening.
    let timeout = [("timeout", format!("{}ms", prometheus.timeout.as_millis()))];
    let mut sent = reach.http.post(url).form(&[form.as_slice(), &timeout].concat());
    for (name, value) in &prometheus.headers {
        sent = sent.header(name, value);
    }
    if let Some(authorization) = &reach.authorization {
        sent = sent.header(AUTHORIZATION, authorization.clone());
    }
    let mut response = sent.send().await.map_err(|error| broken(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + chunk.len() > *bytes_max {
            return Err(Gap::ServerError(format!("its answer is longer than {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    let status = response.status();
    Ok((status, reach.clean(body, status.is_success()).into()))
}

// No message repeats the URL: it may hold a password.
fn address(request: &Request) -> Result<Url, Gap> {
    let not_a_url = |why: &str| Gap::Unreachable(format!("the policy's `prometheus.url` is no URL: {why}"));
    let mut url = Url::parse(&request.prometheus.url).map_err(|error| not_a_url(&error.to_string()))?;
    url.path_segments_mut().map_err(|()| not_a_url("it has no host"))?.pop_if_empty().extend([
        "api",
        "v1",
        request.method,
    ]);
    Ok(url)
}

fn broken(error: &reqwest::Error) -> Gap {
    if error.is_timeout() {
        return Gap::TimedOut;
    }
    Gap::Unreachable(innermost(error))
}
