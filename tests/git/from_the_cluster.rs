//! Credentials as they come from an API server.

use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::routing::get;
use lastgood::act::git::credentials::{CredentialsError, resolve};
use lastgood::act::git::{Auth, Git};
use serde_json::{Value, json};

const SHOP: &str = "https://git.example/shop.git";

fn secret(name: &str, data: &Value) -> Value {
    let labels = json!({ "argocd.argoproj.io/secret-type": "repository-write" });
    json!({ "metadata": { "name": name, "labels": labels }, "data": data })
}

/// `c2hvcA==` and the like are what `base64` makes of the words beside them.
async fn secrets(RawQuery(query): RawQuery) -> Json<Value> {
    let query = query.unwrap_or_default();
    assert!(query.contains("labelSelector=argocd.argoproj.io%2Fsecret-type"), "{query}");
    let first = secret("other", &json!({ "url": "aHR0cHM6Ly9vdGhlcg==", "password": "/////w==" }));
    // https://git.example/shop, ann, s3cret
    let url = "aHR0cHM6Ly9naXQuZXhhbXBsZS9zaG9w";
    let second = secret("shop", &json!({ "url": url, "username": "YW5u", "password": "czNjcmV0" }));
    Json(if query.contains("continue=more") {
        json!({ "kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": [second] })
    } else {
        json!({ "kind": "SecretList", "apiVersion": "v1", "metadata": { "continue": "more" }, "items": [first] })
    })
}

async fn object(Path((kind, name)): Path<(String, String)>) -> (StatusCode, Json<Value>) {
    match (kind.as_str(), name.as_str()) {
        ("secrets", "own") => (
            StatusCode::OK,
            Json(secret(
                "own",
                &json!({ "url": "aHR0cHM6Ly9naXQuZXhhbXBsZS9zaG9wLmdpdA==", "bearerToken": "czNjcmV0" }),
            )),
        ),
        ("configmaps", "argocd-ssh-known-hosts-cm") => {
            let data = json!({ "ssh_known_hosts": "git.example ssh-ed25519 AAAA" });
            (StatusCode::OK, Json(json!({ "metadata": { "name": name }, "data": data })))
        }
        _ => {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": "NotFound", "message": "not found", "code": 404 });
            (StatusCode::NOT_FOUND, Json(status))
        }
    }
}

async fn client() -> kube::Client {
    Git::init().unwrap();
    let router = axum::Router::new()
        .route("/api/v1/namespaces/argocd/secrets", get(secrets))
        .route("/api/v1/namespaces/argocd/{kind}/{name}", get(object));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap()
}

#[tokio::test]
async fn argo_cds_write_credentials_are_found_on_the_second_page() {
    let access = resolve(&client().await, "argocd", SHOP, "default", None).await.unwrap();
    let Auth::Basic { username, password } = &access.auth else { panic!("{access:?}") };
    assert_eq!((username.as_str(), password.reveal()), ("ann", "s3cret"));
    assert_eq!(access.known_hosts.as_deref(), Some("git.example ssh-ed25519 AAAA"));
    assert_eq!(access.ca_pem, None);
}

#[tokio::test]
async fn a_policys_own_secret_is_read_by_name() {
    let client = client().await;
    let access = resolve(&client, "argocd", SHOP, "default", Some("own")).await.unwrap();
    assert!(matches!(access.auth, Auth::Bearer(_)), "{access:?}");
    let error = resolve(&client, "argocd", SHOP, "default", Some("gone")).await.unwrap_err();
    assert!(matches!(error, CredentialsError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn a_local_repository_needs_no_api_server() {
    Git::init().unwrap();
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let client = kube::Client::try_from(nowhere).unwrap();
    assert_eq!(resolve(&client, "argocd", "file:///a", "p", None).await.unwrap().auth, Auth::None);
    let error = resolve(&client, "argocd", SHOP, "p", None).await.unwrap_err();
    assert!(matches!(error, CredentialsError::Unreadable { .. }), "{error}");
}
