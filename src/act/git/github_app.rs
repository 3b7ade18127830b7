//! A GitHub App's private key, exchanged for a token of one installation: good for Git and for GitHub's API alike.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use reqwest::{Client, Method, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::access::{Access, Secret};
use super::http;
use super::message::one_line;

/// GitHub's API, where the Secret names no other.
pub const API: &str = "https://api.github.com";
/// What Git calls the user of such a token.
pub const USERNAME: &str = "x-access-token";

/// How long the exchange may take, both calls together.
const EXCHANGE_MAX: Duration = Duration::from_secs(15);
/// How far our clock may be ahead of GitHub's: it refuses what is signed in its future.
const SKEW_SECONDS: i64 = 60;
/// How long a signed request is good for; GitHub takes ten minutes at most, ours and the skew together.
const SIGNED_SECONDS: i64 = 9 * 60;
/// A token is not used any more when it would end within a push.
const SPARE_SECONDS: i64 = 5 * 60;
/// Tokens that are kept: more than any daemon has installations.
const TOKENS_MAX: usize = 1000;
/// Bytes of an answer that are read; a token has some hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Characters that are kept of an answer that is an error.
const WORDS_CHARS_MAX: usize = 300;

/// A GitHub App, as Argo CD's Secrets hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// Its number.
    pub id: u64,
    /// The number of the installation; looked up by the repository where there is none.
    pub installation: Option<u64>,
    /// The private key, in PEM.
    pub key: Secret,
    /// The API's address, without a slash at the end.
    pub api: String,
    /// Certificates of authorities to trust for the API instead of the system's own, in PEM.
    pub ca_pem: Option<String>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("id", &self.id)
            .field("installation", &self.installation)
            .field("key", &self.key)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

/// Why there is no token. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The key is not one.
    #[error("`githubAppPrivateKey` is not an RSA key in PEM: {0}")]
    Key(String),
    /// The repository's URL names no owner.
    #[error("the URL names no owner and repository, so the App's installation cannot be looked up")]
    NoOwner,
    /// The App is not installed where the repository is.
    #[error("the GitHub App {id} is not installed for `{repository}`, or not at {api}: install it there")]
    NotInstalled {
        /// The App.
        id: u64,
        /// Owner and name.
        repository: String,
        /// The API.
        api: String,
    },
    /// GitHub says no, or nothing.
    #[error("GitHub's API at {api} gave no token for the App {id}: {message}")]
    Refused {
        /// The App.
        id: u64,
        /// The API.
        api: String,
        /// Its words.
        message: String,
    },
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct Token {
    token: String,
    expires_at: Option<String>,
}

/// A token, and until when it is used.
type Kept = Option<(Secret, Timestamp)>;
/// One lock for each App and place, so that one slow API holds up nobody else.
type Cache = Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<Kept>>>>;

fn cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(Mutex::default)
}

impl App {
    /// A token for the repository, from the cache while it is good for some minutes more.
    ///
    /// `access` says how its server is reached: by which proxy, with which client certificate.
    pub async fn token(&self, access: &Access, repo_url: &str, now: Timestamp) -> Result<Secret, AppError> {
        let place = if self.installation.is_none() { repository(repo_url)? } else { String::new() };
        let slot = {
            let mut cache = cache().lock().unwrap_or_else(PoisonError::into_inner);
            if cache.len() >= TOKENS_MAX {
                cache.clear();
            }
            Arc::clone(cache.entry(self.digest(&place)).or_default())
        };
        let mut kept = slot.lock().await;
        if let Some((token, until)) = &*kept
            && *until > now
        {
            return Ok(token.clone());
        }
        let exchange = self.exchange(access, &place, now);
        let exchanged = tokio::time::timeout(EXCHANGE_MAX, exchange).await;
        let (token, until) =
            exchanged.unwrap_or_else(|_| Err(self.refused(format!("no answer within {EXCHANGE_MAX:?}"))))?;
        *kept = Some((token.clone(), until));
        Ok(token)
    }

    async fn exchange(
        &self,
        access: &Access,
        place: &str,
        now: Timestamp,
    ) -> Result<(Secret, Timestamp), AppError> {
        let signed = self.signed(now)?;
        let reach = Access { ca_pem: self.ca_pem.clone(), ..access.clone() };
        let client = http::build(&reach).map_err(|why| self.refused(why))?;
        let installation = match self.installation {
            Some(installation) => installation,
            None => {
                let path = format!("/repos/{place}/installation");
                let found: Option<Installation> = self.call(&client, Method::GET, &path, &signed).await?;
                let not_installed = || AppError::NotInstalled {
                    id: self.id,
                    repository: place.to_owned(),
                    api: self.api.clone(),
                };
                found.ok_or_else(not_installed)?.id
            }
        };
        let path = format!("/app/installations/{installation}/access_tokens");
        let token: Option<Token> = self.call(&client, Method::POST, &path, &signed).await?;
        let unknown = || self.refused(format!("there is no installation {installation} of it"));
        let token = token.ok_or_else(unknown)?;
        let ends = token.expires_at.and_then(|at| at.parse::<Timestamp>().ok()).unwrap_or(now);
        let until = Timestamp::from_second(ends.as_second().saturating_sub(SPARE_SECONDS)).unwrap_or(now);
        Ok((Secret::new(token.token), until))
    }

    /// One call; none when there is no such thing.
    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        signed: &Secret,
    ) -> Result<Option<T>, AppError> {
        let request = client
            .request(method, format!("{}{path}", self.api))
            .header(AUTHORIZATION, format!("Bearer {}", signed.reveal()))
            .header(ACCEPT, "application/vnd.github+json")
            .header(USER_AGENT, concat!("lastgood/", env!("CARGO_PKG_VERSION")));
        let failed = |e: reqwest::Error| self.refused(http::causes(&e.without_url()));
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(self.refused("its answer is too long".to_owned()));
            }
        }
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            let words = String::from_utf8_lossy(&body).replace(signed.reveal(), "***");
            let words = one_line(&words, WORDS_CHARS_MAX);
            let hint = if status == StatusCode::UNAUTHORIZED {
                "; check `githubAppID`, the key, and this machine's clock"
            } else {
                ""
            };
            return Err(self.refused(format!("it answered {status}: {words}{hint}")));
        }
        // The text may hold the token, and serde's errors do not quote it.
        let read = serde_json::from_slice(&body).map_err(|e| self.refused(format!("its answer: {e}")))?;
        Ok(Some(read))
    }

    fn refused(&self, message: String) -> AppError {
        AppError::Refused { id: self.id, api: self.api.clone(), message }
    }

    /// A JSON Web Token that says who we are, by RS256.
    fn signed(&self, now: Timestamp) -> Result<Secret, AppError> {
        let now = now.as_second();
        let claims = serde_json::json!({
            "iat": now - SKEW_SECONDS,
            "exp": now + SIGNED_SECONDS,
            "iss": self.id.to_string(),
        });
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","typ":"JWT"}"#);
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let pair = key_pair(self.key.reveal())?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|e| AppError::Key(e.to_string()))?;
        Ok(Secret::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(&signature))))
    }

    fn digest(&self, place: &str) -> [u8; 32] {
        let installation = self.installation.unwrap_or_default();
        let mut digest = Sha256::new();
        for part in [self.key.reveal(), &self.id.to_string(), &installation.to_string(), &self.api, place] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        digest.finalize().into()
    }
}

/// The key, as GitHub gives it (PKCS#1) or as tools turn it (PKCS#8).
fn key_pair(pem: &str) -> Result<RsaKeyPair, AppError> {
    let wrong = |e: &dyn fmt::Display| AppError::Key(e.to_string());
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| wrong(&e))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(wrong(&"it is one for elliptic curves")),
    };
    pair.map_err(|e| wrong(&e))
}

/// Owner and name, the first two parts of the path.
fn repository(repo_url: &str) -> Result<String, AppError> {
    let url = reqwest::Url::parse(repo_url.trim()).map_err(|_| AppError::NoOwner)?;
    let mut parts = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (Some(owner), Some(name)) => Ok(format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name))),
        _ => Err(AppError::NoOwner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_and_the_name_are_in_the_url() {
        for (url, expected) in [
            ("https://github.com/org/shop.git", Some("org/shop")),
            ("https://ghe.example/org/shop/", Some("org/shop")),
            ("https://github.com/org", None),
            ("git@github.com:org/shop", None),
        ] {
            assert_eq!(repository(url).ok().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_rsa_key_is_said_without_showing_it() {
        let wrong = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n";
        for pem in ["", "secret", wrong] {
            let error = key_pair(pem).err().unwrap().to_string();
            assert!(error.contains("githubAppPrivateKey") && !error.contains("c2Vj"), "{error}");
        }
        let app =
            App { id: 1, installation: None, key: Secret::new("secret"), api: API.into(), ca_pem: None };
        assert!(!format!("{app:?}").contains("secret"));
    }
}
