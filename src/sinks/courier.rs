//! Carries requests to one sink: with its credentials, within its time-out, and reads no more of an answer than is needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use reqwest::redirect;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::answer::{self, Outcome};
use super::encode::Request;
use super::file::Format;
use super::read::Sink;
use super::signature::{self, Keys};
use crate::credentials::{self, NotRead, Secrets};

/// What may be there; the rest is not read.
const KEYS: [&str; 11] = [
    "token",
    "username",
    "password",
    "webhookSecret",
    "clientId",
    "clientSecret",
    "tls.crt",
    "tls.key",
    "ca.crt",
    "proxyUsername",
    "proxyPassword",
];

/// How long credentials are used before they are read anew: half of what a mounted Secret takes to change.
const CREDENTIALS_FRESH: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read: the bulk API answers each document.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long before its end a token is fetched anew.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);

/// How long a token counts whose server does not say (RFC 6749, 5.1, recommends that it does).
const TOKEN_LASTS: Duration = Duration::from_secs(300);

/// Characters from which on a secret is looked for in what a server says.
const HIDDEN_CHARS_MIN: usize = 4;

/// The way to one sink.
pub(super) struct Courier {
    sink: Arc<Sink>,
    secrets: Option<Secrets>,
    reach: Mutex<Option<Known>>,
}

/// What was read, and when.
struct Known {
    texts: BTreeMap<&'static str, String>,
    reach: Arc<Reach>,
    read_at: Instant,
}

/// How the sink is reached.
struct Reach {
    http: reqwest::Client,
    /// What proves who we are.
    authorization: Option<(HeaderName, HeaderValue)>,
    keys: Option<Keys>,
    oauth: Option<OAuth>,
    /// What must not be seen in anything that the sink says.
    hidden: Vec<String>,
}

/// Where a token is fetched.
struct OAuth {
    client_id: String,
    client_secret: String,
    token: Mutex<Option<(HeaderValue, Instant)>>,
}

impl Courier {
    pub(super) fn new(sink: Arc<Sink>, secrets: Option<Secrets>) -> Self {
        Self { sink, secrets, reach: Mutex::default() }
    }

    /// Sends the requests one after the other, up to the first that is not taken.
    pub(super) async fn carry(&self, requests: Vec<Request>) -> Outcome {
        let reach = match self.reach().await {
            Ok(reach) => reach,
            Err(why) => return unavailable(format!("its credentials cannot be used: {why}")),
        };
        for request in requests {
            match self.one(&reach, request).await {
                Outcome::Delivered => {}
                failed => return failed,
            }
        }
        Outcome::Delivered
    }

    async fn one(&self, reach: &Reach, request: Request) -> Outcome {
        let sent = tokio::time::timeout(self.sink.timeout, self.send(reach, request)).await;
        let outcome = sent.unwrap_or_else(|_| {
            let limit = humantime::format_duration(self.sink.timeout);
            Ok(unavailable(format!("it did not answer within {limit}")))
        });
        match outcome {
            Ok(Outcome::Refused { why, forever }) => Outcome::Refused { why: reach.hide(why), forever },
            Ok(Outcome::Unavailable { why, retry_after }) => {
                Outcome::Unavailable { why: reach.hide(why), retry_after }
            }
            Ok(Outcome::Delivered) => Outcome::Delivered,
            Err(error) => {
                unavailable(reach.hide(format!("it cannot be reached: {}", credentials::innermost(&error))))
            }
        }
    }

    async fn send(&self, reach: &Reach, request: Request) -> Result<Outcome, reqwest::Error> {
        let Request { url, mut headers, body, id } = request;
        headers.extend(self.sink.headers.clone());
        match self.proof(reach).await {
            Ok(Some((name, value))) => drop(headers.insert(name, value)),
            Ok(None) => {}
            Err(outcome) => return Ok(outcome),
        }
        if let (Some(keys), Some(id)) = (&reach.keys, id)
            && let Err(outcome) = sign(keys, &id, &body, &mut headers)
        {
            return Ok(outcome);
        }
        let mut response = reach.http.post(url).headers(headers).body(body).send().await?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            answer.extend_from_slice(&chunk);
            if answer.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        if matches!(status.as_u16(), 401 | 403) {
            // They may just have been exchanged.
            self.reach.lock().await.take();
        }
        Ok(answer::outcome(self.sink.format, status, retry_after.as_deref(), &answer, Timestamp::now()))
    }

    /// The header by which the sink knows us.
    async fn proof(&self, reach: &Reach) -> Result<Option<(HeaderName, HeaderValue)>, Outcome> {
        let (Some(oauth), Some((url, scope))) = (&reach.oauth, &self.sink.oauth) else {
            return Ok(reach.authorization.clone());
        };
        let mut known = oauth.token.lock().await;
        if let Some((value, until)) = known.as_ref().filter(|(_, until)| Instant::now() < *until) {
            let _ = until;
            return Ok(Some((AUTHORIZATION, value.clone())));
        }
        let cannot = |why: String| unavailable(format!("no token could be fetched: {why}"));
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", oauth.client_id.as_str()),
            ("client_secret", oauth.client_secret.as_str()),
        ];
        form.extend(scope.as_deref().map(|scope| ("scope", scope)));
        let answered = async {
            let response = reach.http.post(url.clone()).form(&form).send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        };
        let (status, body) = answered.await.map_err(|error| cannot(credentials::innermost(&error)))?;
        if !status.is_success() {
            // The body of a refusal may repeat what was sent.
            return Err(cannot(format!("the token endpoint answered {status}")));
        }
        let token: Token = serde_json::from_slice(&body)
            .map_err(|_| cannot("the token endpoint's answer holds none".to_owned()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.access_token))
            .map_err(|_| cannot("it cannot be sent in a header".to_owned()))?;
        value.set_sensitive(true);
        let lasts = token.expires_in.map_or(TOKEN_LASTS, Duration::from_secs);
        *known = Some((value.clone(), Instant::now() + lasts.saturating_sub(TOKEN_MARGIN)));
        Ok(Some((AUTHORIZATION, value)))
    }

    /// How to reach the sink, by credentials that were not read long ago.
    async fn reach(&self) -> Result<Arc<Reach>, String> {
        let mut known = self.reach.lock().await;
        if let Some(known) = known.as_ref()
            && (self.sink.credentials.is_none() || known.read_at.elapsed() < CREDENTIALS_FRESH)
        {
            return Ok(Arc::clone(&known.reach));
        }
        let texts = match &self.sink.credentials {
            None => BTreeMap::new(),
            Some(at) => match credentials::read(at, &KEYS, self.secrets.as_ref()).await {
                Ok(texts) => texts,
                Err(NotRead::Wrong(why)) => return Err(why),
                // Nobody knows whether they changed.
                Err(NotRead::Unknown(why)) => {
                    return known.as_ref().map(|known| Arc::clone(&known.reach)).ok_or(why);
                }
            },
        };
        let reach = match known.as_ref() {
            // Keeps the connections and the token.
            Some(known) if known.texts == texts => Arc::clone(&known.reach),
            _ => Arc::new(Reach::with(&texts, &self.sink)?),
        };
        *known = Some(Known { texts, reach: Arc::clone(&reach), read_at: Instant::now() });
        Ok(reach)
    }
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_in: Option<u64>,
}

impl Reach {
    fn with(texts: &BTreeMap<&'static str, String>, sink: &Sink) -> Result<Self, String> {
        let get = |key: &str| texts.get(key).map(String::as_str).filter(|text| !text.is_empty());
        let both = |one: &str, other: &str| match (get(one), get(other)) {
            (None, None) => Ok(None),
            (Some(a), Some(b)) => Ok(Some((a, b))),
            _ => Err(format!("`{one}` and `{other}` must both be there")),
        };
        let pair = both("tls.crt", "tls.key")?.map(|(certificate, key)| format!("{certificate}\n{key}\n"));
        crate::cluster::install_crypto();
        let mut builder = reqwest::Client::builder()
            // The environment's proxies are meant for Git.
            .no_proxy()
            // Credentials are for one server.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("lastgood/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT);
        if let Some(url) = &sink.proxy {
            let proxy = reqwest::Proxy::all(url.clone()).map_err(|error| error.to_string())?;
            builder = builder.proxy(match both("proxyUsername", "proxyPassword")? {
                Some((user, password)) => proxy.basic_auth(user, password),
                None => proxy,
            });
        }
        let http = credentials::client(builder, get("ca.crt"), pair.as_deref())
            .map_err(|why| format!("the certificates cannot be used: {why}"))?;
        let authorization = authorization(sink.format, get("token"), both("username", "password")?)?;
        let keys = match (sink.sign, get("webhookSecret")) {
            (false, _) => None,
            (true, Some(text)) => Some(Keys::read(text)?),
            (true, None) => {
                return Err("`webhookSecret` is missing, and requests are to be signed".to_owned());
            }
        };
        let oauth = match (&sink.oauth, both("clientId", "clientSecret")?) {
            (None, _) => None,
            (Some(_), Some((id, secret))) => Some(OAuth {
                client_id: id.to_owned(),
                client_secret: secret.to_owned(),
                token: Mutex::default(),
            }),
            (Some(_), None) => return Err("`clientId` and `clientSecret` are missing".to_owned()),
        };
        let hidden = ["token", "password", "webhookSecret", "clientSecret", "proxyPassword"];
        let mut hidden: Vec<String> = hidden.into_iter().filter_map(get).map(str::to_owned).collect();
        let sent = authorization.as_ref().and_then(|(_, value)| value.to_str().ok());
        hidden.extend(sent.and_then(|text| Some(text.split_once(' ')?.1.to_owned())));
        hidden.retain(|secret| secret.chars().count() >= HIDDEN_CHARS_MIN);
        Ok(Self { http, authorization, keys, oauth, hidden })
    }

    /// Takes out what must not be seen, should the sink repeat it.
    fn hide(&self, text: String) -> String {
        self.hidden.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// The header by which a format's server knows who sends.
fn authorization(
    format: Format,
    token: Option<&str>,
    user: Option<(&str, &str)>,
) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let (name, text) = match (token, user) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err("there is a `token` and a user: one of the two".to_owned()),
        (None, Some((user, password))) => {
            let pair = signature::base64(format!("{user}:{password}").as_bytes());
            (AUTHORIZATION, format!("Basic {pair}"))
        }
        (Some(token), None) => match format {
            Format::Splunk => (AUTHORIZATION, format!("Splunk {token}")),
            Format::Elastic => (AUTHORIZATION, format!("ApiKey {token}")),
            Format::Datadog => (HeaderName::from_static("dd-api-key"), token.to_owned()),
            Format::CloudEvents
            | Format::CloudEventsBinary
            | Format::Json
            | Format::Sentinel
            | Format::Loki
            | Format::Otlp => (AUTHORIZATION, format!("Bearer {token}")),
        },
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| "the token or password cannot be sent in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

fn sign(keys: &Keys, id: &str, body: &[u8], headers: &mut HeaderMap) -> Result<(), Outcome> {
    // The time of the attempt: a receiver refuses old ones.
    let (id, at) = (signature::webhook_id(id), Timestamp::now());
    for (name, value) in [
        ("webhook-signature", keys.sign(&id, at, body)),
        ("webhook-timestamp", at.as_second().to_string()),
        ("webhook-id", id),
    ] {
        let value = HeaderValue::from_str(&value).map_err(|_| Outcome::Refused {
            why: format!("`{name}` cannot be sent in a header"),
            forever: true,
        })?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

fn unavailable(why: String) -> Outcome {
    Outcome::Unavailable { why, retry_after: None }
}
