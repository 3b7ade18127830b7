//! A GitHub App's key against an API that checks what is signed with it.

use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use lastgood::act::git::credentials::{CredentialsError, resolve};
use lastgood::act::git::github_app::{App, AppError};
use lastgood::act::git::{Access, Auth, Git, Secret};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

const SHOP: &str = "https://git.example/org/shop.git";
const APP: u64 = 4711;
const INSTALLATION: u64 = 42;

/// A private key in PEM.
fn key(form: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-t", "rsa", "-b", "2048", "-m", form, "-f"]).arg(&path);
    assert!(keygen.status().unwrap().success());
    std::fs::read_to_string(path).unwrap()
}

fn public_key(pem: &str) -> Vec<u8> {
    let pair = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap() {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).unwrap(),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap(),
        other => panic!("{other:?}"),
    };
    pair.public().as_ref().to_vec()
}

fn number(letter: u8) -> u32 {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    u32::try_from(alphabet.iter().position(|l| *l == letter).expect("a letter of base64url")).unwrap()
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let group =
            chunk.iter().fold(0, |group, letter| group << 6 | number(*letter)) << (6 * (4 - chunk.len()));
        bytes.extend(group.to_be_bytes()[1..chunk.len()].iter());
    }
    bytes
}

fn encode(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = char::from(alphabet[(group >> (18 - 6 * place) & 63) as usize]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

/// What the API knows, and what it was asked.
struct GitHub {
    public_key: Vec<u8>,
    now: Timestamp,
    expires_at: Timestamp,
    log: Vec<String>,
}

type Shared = Arc<Mutex<GitHub>>;

impl GitHub {
    /// Whether a request is signed by the App, for now, as GitHub checks it.
    fn check(&mut self, line: String, headers: &HeaderMap) -> Result<(), StatusCode> {
        self.log.push(line);
        let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let (text, signature) = token.rsplit_once('.').unwrap();
        let (head, claims) = text.split_once('.').unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key);
        key.verify(text.as_bytes(), &decode(signature)).map_err(|_| StatusCode::UNAUTHORIZED)?;
        assert_eq!(
            serde_json::from_slice::<Value>(&decode(head)).unwrap(),
            json!({ "alg": "RS256", "typ": "JWT" })
        );
        let claims: Value = serde_json::from_slice(&decode(claims)).unwrap();
        assert_eq!(claims["iss"], APP.to_string());
        let now = self.now.as_second();
        let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        // GitHub's clock may be a minute behind ours, or ahead of it.
        assert!(iat <= now - 60 && exp <= now + 540 && exp > now + 60, "{claims} at {now}");
        assert!(headers.contains_key("user-agent"), "GitHub refuses who has no name");
        Ok(())
    }
}

async fn installation(
    State(github): State<Shared>,
    Path(place): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let mut github = github.lock().unwrap();
    github.check(format!("installation of {}/{}", place.0, place.1), &headers)?;
    if place.0 == "org" { Ok(Json(json!({ "id": INSTALLATION }))) } else { Err(StatusCode::NOT_FOUND) }
}

async fn token(
    State(github): State<Shared>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let mut github = github.lock().unwrap();
    github.check(format!("token of {id}"), &headers)?;
    if id != INSTALLATION {
        return Err(StatusCode::NOT_FOUND);
    }
    let answer = json!({ "token": format!("ghs_{}", github.log.len()), "expires_at": github.expires_at });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// An API that knows the App by this key.
async fn github(pem: &str, now: Timestamp) -> (Shared, String) {
    Git::init().unwrap();
    let (public_key, expires_at) = (public_key(pem), now + SignedDuration::from_hours(1));
    let github = Arc::new(Mutex::new(GitHub { public_key, now, expires_at, log: Vec::new() }));
    let router = Router::new()
        .route("/api/v3/repos/{owner}/{name}/installation", get(installation))
        .route("/api/v3/app/installations/{id}/access_tokens", post(token))
        .with_state(Arc::clone(&github));
    (github, format!("{}/api/v3", serve(router).await))
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn app(pem: &str, api: &str, installation: Option<u64>) -> App {
    App { id: APP, installation, key: Secret::new(pem), api: api.to_owned(), ca_pem: None }
}

#[tokio::test]
async fn a_token_is_asked_for_once_until_shortly_before_its_end() {
    for form in ["PEM", "PKCS8"] {
        let (pem, now) = (key(form), Timestamp::now());
        let (github, api) = github(&pem, now).await;
        let app = app(&pem, &api, Some(INSTALLATION));
        let access = Access::new(SHOP);
        for _ in 0..3 {
            assert_eq!(app.token(&access, SHOP, now).await.unwrap().reveal(), "ghs_1", "{form}");
        }
        // Another repository of the same installation.
        assert_eq!(app.token(&access, "https://git.example/org/b", now).await.unwrap().reveal(), "ghs_1");
        let late = now + SignedDuration::from_mins(54);
        assert_eq!(app.token(&access, SHOP, late).await.unwrap().reveal(), "ghs_1");
        let too_late = now + SignedDuration::from_mins(56);
        github.lock().unwrap().now = too_late;
        assert_eq!(app.token(&access, SHOP, too_late).await.unwrap().reveal(), "ghs_2");
        assert_eq!(github.lock().unwrap().log, ["token of 42", "token of 42"]);
    }
}

#[tokio::test]
async fn the_installation_is_found_by_the_repository() {
    let (pem, now) = (key("PEM"), Timestamp::now());
    let (github, api) = github(&pem, now).await;
    let app = app(&pem, &api, None);
    let access = Access::new(SHOP);
    assert_eq!(app.token(&access, SHOP, now).await.unwrap().reveal(), "ghs_2");
    assert_eq!(app.token(&access, SHOP, now).await.unwrap().reveal(), "ghs_2");
    assert_eq!(github.lock().unwrap().log, ["installation of org/shop", "token of 42"]);
    let error = app.token(&access, "https://git.example/stranger/b", now).await.unwrap_err();
    assert!(matches!(error, AppError::NotInstalled { .. }), "{error}");
    assert!(error.to_string().contains("not installed for `stranger/b`"), "{error}");
}

#[tokio::test]
async fn what_github_refuses_is_said_without_the_key() {
    let (pem, now) = (key("PEM"), Timestamp::now());
    let (_github, api) = github(&pem, now).await;
    let access = Access::new(SHOP);
    let wrong_key = app(&key("PEM"), &api, Some(INSTALLATION)).token(&access, SHOP, now).await.unwrap_err();
    assert!(
        wrong_key.to_string().contains("401") && wrong_key.to_string().contains("githubAppID"),
        "{wrong_key}"
    );
    let unknown = app(&pem, &api, Some(7)).token(&access, SHOP, now).await.unwrap_err();
    assert!(unknown.to_string().contains("no installation 7"), "{unknown}");
    let gone = app(&pem, "http://127.0.0.1:1", Some(7)).token(&access, SHOP, now).await.unwrap_err();
    assert!(gone.to_string().contains("http://127.0.0.1:1 gave no token for the App 4711"), "{gone}");
    let not_a_key = app("nonsense", &api, Some(7)).token(&access, SHOP, now).await.unwrap_err();
    assert!(matches!(not_a_key, AppError::Key(_)), "{not_a_key}");
    let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let elliptic = app(&elliptic, &api, Some(7)).token(&access, SHOP, now).await.unwrap_err();
    assert!(matches!(elliptic, AppError::Key(_)), "{elliptic}");
}

#[tokio::test]
async fn a_secret_with_an_app_becomes_a_token_for_git() {
    let pem = key("PEM");
    let (github, api) = github(&pem, Timestamp::now()).await;
    let list = |url: &str, kind: &str, pem: &str| {
        let data = json!({
            "url": encode(url.as_bytes()), "githubAppID": encode(APP.to_string().as_bytes()),
            "githubAppPrivateKey": encode(pem.as_bytes()), "githubAppEnterpriseBaseUrl": encode(api.as_bytes()),
        });
        let labels = json!({ "argocd.argoproj.io/secret-type": kind });
        json!({ "kind": "SecretList", "apiVersion": "v1", "metadata": {},
            "items": [{ "metadata": { "name": "the-app", "labels": labels }, "data": data }] })
    };
    let resolve = async |secrets: Value| {
        let router = Router::new()
            .route("/api/v1/namespaces/argocd/secrets", get(move || async move { Json(secrets) }))
            .fallback(|| async {
                let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "reason": "NotFound", "message": "not found", "code": 404 });
                (StatusCode::NOT_FOUND, Json(status))
            });
        let config = kube::Config::new(serve(router).await.parse().unwrap());
        resolve(&kube::Client::try_from(config).unwrap(), "argocd", SHOP, "default", None).await
    };
    for (url, kind) in [(SHOP, "repository"), ("https://git.example/org", "repo-creds")] {
        let access = resolve(list(url, kind, &pem)).await.unwrap();
        let Auth::Basic { username, password } = &access.auth else { panic!("{access:?}") };
        assert_eq!((username.as_str(), password.reveal()), ("x-access-token", "ghs_2"));
    }
    assert_eq!(github.lock().unwrap().log.len(), 2, "the second one is from the cache");
    let error = resolve(list(SHOP, "repository", &key("PEM"))).await.unwrap_err();
    assert!(matches!(error, CredentialsError::App { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("`the-app`") && error.contains(SHOP) && !error.contains("PRIVATE"), "{error}");
}
