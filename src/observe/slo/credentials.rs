//! Credentials and certificates for a Prometheus: what they hold, and what a connection gets of them.
//!
//! Whoever writes a policy chooses its URL, and a token must not follow it anywhere: what is read here names the URL that
//! it is for, and goes nowhere else. Nothing in it has a `Debug`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use crate::credentials::{self, Secrets};
use crate::engine::facts::Gap;
use crate::engine::policy::{CredentialsAt, Prometheus};

/// What may be there; the rest is not read.
const KEYS: [&str; 7] = ["url", "bearerToken", "username", "password", "tls.crt", "tls.key", "ca.crt"];

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Characters from which on a secret is looked for in good answers too: a short one may stand there by chance.
const HIDDEN_ALWAYS_CHARS: usize = 8;

/// What was read, as text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material(BTreeMap<&'static str, String>);

/// Why nothing was read.
pub(super) enum NotRead {
    /// It is known to be wrong.
    Wrong(Gap),
    /// It could not be found out.
    Unknown(Gap),
}

fn wrong(why: impl Into<String>) -> Gap {
    Gap::Credentials(why.into())
}

/// Reads credentials.
pub(super) async fn read(at: &CredentialsAt, secrets: Option<&Secrets>) -> Result<Material, NotRead> {
    let texts = credentials::read(at, &KEYS, secrets).await.map_err(|error| match error {
        credentials::NotRead::Wrong(why) => NotRead::Wrong(wrong(why)),
        credentials::NotRead::Unknown(why) => NotRead::Unknown(wrong(why)),
    })?;
    Ok(Material(texts))
}

/// How a server is reached: the connections, and what proves who we are.
pub(super) struct Reach {
    pub(super) http: reqwest::Client,
    pub(super) authorization: Option<HeaderValue>,
    /// What must not be seen in anything that the server says.
    hidden: Vec<String>,
}

impl Reach {
    /// Without any credentials.
    pub(super) fn plain() -> Result<Self, reqwest::Error> {
        Ok(Self { http: builder().build()?, authorization: None, hidden: Vec::new() })
    }

    /// With what was read.
    pub(super) fn with(material: &Material, prometheus: &Prometheus) -> Result<Arc<Self>, Gap> {
        let get = |key: &str| material.0.get(key).map(String::as_str).filter(|text| !text.is_empty());
        match get("url") {
            None => return Err(wrong("`url` is missing: the server that they are for")),
            Some(url) if covers(url, &prometheus.url) => {}
            // Not which: it may be of no concern to who reads this.
            Some(_) => {
                return Err(wrong(
                    "they are for another server: their `url` must be the policy's, or above it",
                ));
            }
        }
        let pair = match (get("tls.crt"), get("tls.key")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(format!("{certificate}\n{key}\n")),
            _ => return Err(wrong("`tls.crt` and `tls.key` must both be there")),
        };
        let http = credentials::client(builder(), get("ca.crt"), pair.as_deref())
            .map_err(|why| wrong(format!("the certificates cannot be used: {why}")))?;
        // Whatever the URL: it is the header that counts.
        let request = http.get(&prometheus.url);
        let (request, mut hidden) = match (get("bearerToken"), get("username"), get("password")) {
            (None, None, None) => (request, Vec::new()),
            (Some(token), None, None) => (request.bearer_auth(token), vec![token.to_owned()]),
            (None, Some(user), Some(password)) => {
                (request.basic_auth(user, Some(password)), vec![password.to_owned()])
            }
            (Some(_), _, _) => return Err(wrong("there is a `bearerToken` and a user: one of the two")),
            (None, _, _) => return Err(wrong("`username` and `password` must both be there")),
        };
        let request =
            request.build().map_err(|_| wrong("the token or password cannot be sent in a header"))?;
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let sent = authorization.as_ref().and_then(|value| value.to_str().ok());
        hidden.extend(sent.and_then(|text| Some(text.split_once(' ')?.1.to_owned())));
        Ok(Arc::new(Self { http, authorization, hidden }))
    }

    /// Takes out of an answer what must not be seen, should the server repeat it.
    pub(super) fn clean(&self, body: Vec<u8>, good: bool) -> Vec<u8> {
        let seen = |secret: &&String| {
            let counts = !good || secret.chars().count() >= HIDDEN_ALWAYS_CHARS;
            counts && body.windows(secret.len()).any(|window| window == secret.as_bytes())
        };
        let repeated: Vec<_> = self.hidden.iter().filter(seen).collect();
        if repeated.is_empty() {
            return body;
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        repeated.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***")).into_bytes()
    }
}

fn builder() -> reqwest::ClientBuilder {
    crate::cluster::install_crypto();
    reqwest::Client::builder()
        // HTTPS_PROXY is meant for Git, and would see the queries.
        .no_proxy()
        // A redirected POST would be sent again as GET, without the query; and credentials are for one server.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
}

/// Whether a URL is this one or below it.
fn covers(allowed: &str, url: &str) -> bool {
    let (Ok(allowed), Ok(url)) = (Url::parse(allowed), Url::parse(url)) else { return false };
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    let below =
        path(&url).strip_prefix(&path(&allowed)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // A host without one is none: `data:` and the like.
    allowed.origin().is_tuple() && allowed.origin() == url.origin() && below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_where_their_url_says() {
        let check = |allowed, url, expected| assert_eq!(covers(allowed, url), expected, "{allowed} {url}");
        check("https://mimir.example/prometheus", "https://mimir.example/prometheus", true);
        check("https://mimir.example", "https://mimir.example:443/prometheus/", true);
        check("https://mimir.example/a/", "https://mimir.example/a/b", true);
        check("https://mimir.example/a", "https://mimir.example/ab", false);
        check("https://mimir.example/a", "https://mimir.example/a/../b", false);
        check("https://mimir.example/a", "https://mimir.example/a/%2e%2e/b", false);
        check("https://mimir.example", "http://mimir.example", false);
        check("https://mimir.example", "https://mimir.example:8443", false);
        check("https://mimir.example", "https://mimir.example.evil", false);
        check("https://mimir.example", "https://mimir.example@evil", false);
        check("", "https://mimir.example", false);
        check("data:x", "data:x", false);
    }
}
