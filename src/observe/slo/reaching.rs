//! How servers are reached: TLS and credentials, turns, and what is asked for once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Form;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;
use futures::FutureExt as _;
use http::HeaderMap;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::tls::{Authority, TlsListener};
use super::server::SERVER_CONCURRENT_MAX;
use super::tests::one as number;
use super::*;
use crate::cluster::fake;
use crate::engine::action::{Round, SloQuery};
use crate::engine::policy::CredentialsAt;

#[path = "../../../tests/support/tls.rs"]
#[allow(dead_code, reason = "shared with the tests of Git")]
mod tls;

const TOKEN: &str = "t0ken-that-is-secret";

fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn one() -> Response {
    r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#.into_response()
}

/// Serves both methods of the API; the port on `localhost`.
async fn serve<F>(answer: F, shown: Option<(&Authority, Option<&Authority>)>) -> u16
where
    F: Fn(HeaderMap, BTreeMap<String, String>) -> Response + Clone + Send + Sync + 'static,
{
    let handler = move |headers: HeaderMap, Form(form): Form<BTreeMap<String, String>>| async move {
        answer(headers, form)
    };
    let router = Router::new()
        .route("/api/v1/query", post(handler.clone()))
        .route("/api/v1/query_range", post(handler));
    start(router, shown).await
}

async fn start(router: Router, shown: Option<(&Authority, Option<&Authority>)>) -> u16 {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    match shown {
        None => drop(tokio::spawn(async { axum::serve(tcp, router).await })),
        Some((authority, clients)) => {
            let listener = TlsListener::new(tcp, &authority.certify("localhost"), clients);
            drop(tokio::spawn(async { axum::serve(listener, router).await }));
        }
    }
    port
}

fn server(url: String, credentials: Option<CredentialsAt>) -> Prometheus {
    Prometheus { credentials, ..Prometheus::new(url, Duration::from_secs(5)) }
}

fn at(folder: &TempDir) -> CredentialsAt {
    CredentialsAt::Folder(folder.path().to_str().unwrap().to_owned())
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    folder
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        std::fs::write(folder.join(name), format!("{text}\n")).unwrap();
    }
}

/// Trusts new credentials at once.
fn slos() -> Slos {
    let mut slos = Slos::new().unwrap();
    Arc::get_mut(&mut slos.servers).unwrap().retry_after = Duration::ZERO;
    slos
}

async fn told(server: &Prometheus) -> String {
    match number(&slos(), server).await {
        Reading::Value(value) => value.to_string(),
        Reading::Gap(gap) => gap.to_string(),
    }
}

#[tokio::test]
async fn a_server_gets_its_token_headers_and_client_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let answer = move |headers: HeaderMap, _| {
        let shown =
            |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        seen.lock().unwrap().push(["authorization", "x-scope-orgid", "x-team"].map(shown));
        one()
    };
    let port = serve(answer, Some((&authority, Some(&clients)))).await;
    let url = format!("https://localhost:{port}");
    let (known, stranger) = (clients.certify("lastgood"), Authority::new().certify("lastgood"));
    let all = [
        ("url", url.as_str()),
        ("bearerToken", TOKEN),
        ("ca.crt", &authority.pem),
        ("tls.crt", &known.certificate),
        ("tls.key", &known.key),
    ];
    let complete = folder(&all);
    let mut asked = server(url.clone(), Some(at(&complete)));
    asked.headers = [("X-Scope-OrgID", "a|b"), ("X-Team", "shop")].map(|(k, v)| (k.into(), v.into())).into();
    assert_eq!(told(&asked).await, "1");
    assert_eq!(*heads.lock().unwrap(), [[format!("Bearer {TOKEN}"), "a|b".into(), "shop".into()]]);
    heads.lock().unwrap().clear();

    // Without the authority, without the client certificate, with somebody else's, under another name.
    for (name, text) in
        [("ca.crt", ""), ("ca.crt", "rubbish"), ("tls.key", ""), ("tls.crt", &stranger.certificate)]
    {
        let broken = folder(&all);
        write(broken.path(), &[(name, text)]);
        let why = told(&server(url.clone(), Some(at(&broken)))).await;
        assert!(why.starts_with("unreachable: ") || why.starts_with("credentials: "), "{name}: {why}");
        assert!(!why.contains(TOKEN), "{why}");
    }
    let foreign = folder(&all);
    write(foreign.path(), &[("tls.crt", &stranger.certificate), ("tls.key", &stranger.key)]);
    let why = told(&server(url.clone(), Some(at(&foreign)))).await;
    assert!(why.starts_with("unreachable: "), "{why}");
    let misnamed = folder(&all);
    let address = url.replace("localhost", "127.0.0.1");
    write(misnamed.path(), &[("url", &address)]);
    let why = told(&server(address, Some(at(&misnamed)))).await;
    assert!(why.contains("certificate not valid for name"), "{why}");
    assert!(heads.lock().unwrap().is_empty(), "somebody got a token");
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_named_and_sent_nowhere() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let port = serve(
        move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            one()
        },
        None,
    )
    .await;
    let url = format!("http://localhost:{port}");
    let check = async |files: &[(&str, &str)], expected: &str| {
        let folder = folder(files);
        assert_eq!(
            told(&server(url.clone(), Some(at(&folder)))).await,
            format!("credentials: {expected}"),
            "{files:?}"
        );
    };
    let u = ("url", url.as_str());
    check(&[("bearerToken", TOKEN)], "`url` is missing: the server that they are for").await;
    check(
        &[("url", "http://localhost:1"), ("bearerToken", TOKEN)],
        "they are for another server: their `url` must be the policy's, or above it",
    )
    .await;
    check(&[u, ("username", "me")], "`username` and `password` must both be there").await;
    check(
        &[u, ("bearerToken", TOKEN), ("password", "x")],
        "there is a `bearerToken` and a user: one of the two",
    )
    .await;
    check(&[u, ("bearerToken", "a\u{1}b")], "the token or password cannot be sent in a header").await;
    check(&[u, ("tls.crt", "x")], "`tls.crt` and `tls.key` must both be there").await;
    check(&[u, ("ca.crt", "x")], "the certificates cannot be used: no certificate in the PEM text").await;
    let why = told(&server(url.clone(), Some(CredentialsAt::Folder("/does/not/exist".into())))).await;
    assert_eq!(why, "credentials: the folder /does/not/exist holds none of them");
    let why = told(&server(url.clone(), Some(CredentialsAt::Secret("mimir".into())))).await;
    assert_eq!(why, "credentials: they are in the Secret `mimir`, and no cluster is asked here");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_secret_is_read_from_argo_cds_namespace() {
    let answer = |headers: HeaderMap, _: BTreeMap<String, String>| match headers.get("authorization") {
        Some(sent) if sent == "Basic bWU6cGFzc3dvcmQ=" => one(),
        _ => http::StatusCode::UNAUTHORIZED.into_response(),
    };
    let port = serve(answer, None).await;
    let url = format!("http://localhost:{port}");
    let bytes = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
    let data = json!({"url": bytes(&url), "username": bytes("me"), "password": bytes("password"), "other": bytes("x")});
    let client = fake::client(move |asked| match asked.path.as_str() {
        "/api/v1/namespaces/argocd/secrets/mimir" => fake::Answer::Json(200, json!({"data": data})),
        "/api/v1/namespaces/argocd/secrets/forbidden" => fake::Answer::Json(
            403,
            json!({"kind": "Status", "status": "Failure", "message": "secrets is forbidden", "reason": "Forbidden", "code": 403}),
        ),
        _ => fake::Answer::Json(
            404,
            json!({"kind": "Status", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404}),
        ),
    });
    let slos = Slos::with_secrets(client, "argocd").unwrap();
    let told = async |secret: &str| {
        let server = server(url.clone(), Some(CredentialsAt::Secret(secret.into())));
        match number(&slos, &server).await {
            Reading::Value(value) => value.to_string(),
            Reading::Gap(gap) => gap.to_string(),
        }
    };
    assert_eq!(told("mimir").await, "1");
    assert_eq!(told("gone").await, "credentials: the Secret `gone` in namespace `argocd` does not exist");
    let why = told("forbidden").await;
    assert!(
        why.starts_with("credentials: cannot read the Secret `forbidden`") && why.contains("forbidden"),
        "{why}"
    );
}

#[tokio::test]
async fn a_token_that_was_exchanged_is_read_anew() {
    let wanted = Arc::new(Mutex::new("Bearer first".to_owned()));
    let calls = Arc::new(AtomicUsize::new(0));
    let (current, count) = (Arc::clone(&wanted), Arc::clone(&calls));
    let answer = move |headers: HeaderMap, _: BTreeMap<String, String>| {
        count.fetch_add(1, Ordering::SeqCst);
        let good = headers.get("authorization").is_some_and(|sent| sent == current.lock().unwrap().as_str());
        if good { one() } else { http::StatusCode::UNAUTHORIZED.into_response() }
    };
    let port = serve(answer, None).await;
    let url = format!("http://localhost:{port}");
    let folder = folder(&[("url", &url), ("bearerToken", "first")]);
    let (server, slos) = (server(url, Some(at(&folder))), slos());
    let ask = async || number(&slos, &server).await;
    assert_eq!(ask().await, Reading::Value(1.0));
    write(folder.path(), &[("bearerToken", "second")]);
    *wanted.lock().unwrap() = "Bearer second".to_owned();
    assert_eq!(ask().await, Reading::Value(1.0));
    assert_eq!(calls.load(Ordering::SeqCst), 3, "one refusal, and the same query again");
    // One that is wrong is not tried twice.
    *wanted.lock().unwrap() = "Bearer third".to_owned();
    let why = Gap::Credentials("the server refuses these (HTTP 401 Unauthorized)".into());
    assert_eq!(ask().await, Reading::Gap(why));
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn no_secret_is_seen_though_the_server_repeats_it() {
    for (files, secrets) in [
        (vec![("bearerToken", TOKEN)], vec![TOKEN]),
        (vec![("username", "me"), ("password", "pa55")], vec!["pa55", "bWU6cGE1NQ=="]),
    ] {
        for (status, template) in [
            (500, r#"{"status":"error","errorType":"internal","error":"you sent SECRET"}"#),
            (422, r#"{"status":"error","errorType":"bad_data","error":"you sent SECRET"}"#),
        ] {
            let echo = move |headers: HeaderMap, _: BTreeMap<String, String>| {
                let sent = headers.get("authorization").unwrap().to_str().unwrap();
                let body = template.replace("SECRET", &format!("{sent} pa55"));
                (http::StatusCode::from_u16(status).unwrap(), body).into_response()
            };
            let port = serve(echo, None).await;
            let url = format!("http://localhost:{port}");
            let folder = folder(&[files.as_slice(), &[("url", url.as_str())]].concat());
            let why = told(&server(url, Some(at(&folder)))).await;
            assert!(why.contains("you sent") && why.contains("***"), "{why}");
            assert!(secrets.iter().all(|secret| !why.contains(secret)), "{why}");
        }
    }
}

#[tokio::test]
async fn a_redirect_takes_no_credentials_along() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let elsewhere = serve(
        move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            one()
        },
        None,
    )
    .await;
    let to = format!("http://localhost:{elsewhere}/api/v1/query");
    let port = serve(move |_, _| Redirect::temporary(&to).into_response(), None).await;
    let url = format!("http://localhost:{port}");
    let folder = folder(&[("url", &url), ("bearerToken", TOKEN)]);
    let why = told(&server(url, Some(at(&folder)))).await;
    assert!(why.contains("HTTP 307"), "{why}");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

fn order(when: When, queries: &[&str]) -> MeasureOrder {
    let query = |promql: &&str| SloQuery {
        slo: (*promql).into(),
        part: crate::engine::policy::Part::Value,
        series: crate::engine::policy::Series::Refuse,
        promql: (*promql).into(),
    };
    MeasureOrder {
        round: Round { began_at: now(), number: 1 },
        when,
        queries: queries.iter().map(query).collect(),
    }
}

/// A server that answers when it is let, and counts.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    async fn start() -> (Self, Prometheus) {
        let none = || Arc::new(AtomicUsize::new(0));
        let gate = Self { open: Arc::new(Semaphore::new(0)), asked: none(), waiting: none(), most: none() };
        let inside = gate.clone();
        let handler = move |Form(form): Form<BTreeMap<String, String>>| {
            let gate = inside.clone();
            async move {
                gate.asked.fetch_add(1, Ordering::SeqCst);
                let waiting = gate.waiting.fetch_add(1, Ordering::SeqCst) + 1;
                gate.most.fetch_max(waiting, Ordering::SeqCst);
                gate.open.acquire().await.unwrap().forget();
                gate.waiting.fetch_sub(1, Ordering::SeqCst);
                if form.contains_key("start") {
                    r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.into_response()
                } else {
                    one()
                }
            }
        };
        let router = Router::new()
            .route("/api/v1/query", post(handler.clone()))
            .route("/api/v1/query_range", post(handler));
        let port = start(router, None).await;
        (gate, server(format!("http://localhost:{port}"), None))
    }

    async fn until_waiting(&self, count: usize) {
        while self.waiting.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

const INTERVAL: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_server_gets_few_queries_at_once_from_all_applications_together() {
    let (gate, server) = Gate::start().await;
    let slos = Slos::new().unwrap();
    let names: Vec<String> = (0..32).map(|n| format!("query{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // One order alone takes a part of the turns; eight of them, all turns there are.
    let alone = order(When::Now, &names[..8]);
    let one_order = async {
        let measuring = slos.measure(&alone, &server, now(), INTERVAL);
        let letting = async {
            gate.until_waiting(CONCURRENT_MAX).await;
            gate.open.add_permits(8);
        };
        tokio::join!(measuring, letting).0
    };
    assert_eq!(one_order.await.len(), 8);
    assert_eq!(gate.most.load(Ordering::SeqCst), CONCURRENT_MAX);
    let orders: Vec<_> = names.chunks(4).map(|names| order(When::Now, names)).collect();
    let later = "2026-11-20T10:00:30Z".parse().unwrap();
    let all = orders.iter().map(|order| slos.measure(order, &server, later, Duration::from_nanos(8)));
    let letting = async {
        gate.until_waiting(SERVER_CONCURRENT_MAX).await;
        gate.open.add_permits(32);
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(all), letting);
    assert!(answers.iter().flatten().all(|answer| answer.reading == Reading::Value(1.0)), "{answers:?}");
    assert_eq!(gate.most.load(Ordering::SeqCst), SERVER_CONCURRENT_MAX);
}

#[tokio::test]
async fn what_many_applications_ask_at_one_tick_is_sent_once() {
    let (gate, server) = Gate::start().await;
    let slos = Slos::new().unwrap();
    let range = When::Range { from: now(), to: now(), step: Duration::from_secs(15) };
    for (when, sent) in [(When::Now, 1), (range, 2)] {
        let order = order(when, &["same"]);
        let all = (0..50).map(|_| slos.measure(&order, &server, now(), INTERVAL));
        let letting = async {
            gate.until_waiting(1).await;
            gate.open.add_permits(1);
        };
        let (answers, ()) = tokio::join!(futures::future::join_all(all), letting);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(gate.asked(), sent);
        assert_eq!(gate.waiting.load(Ordering::SeqCst), 0);
    }
    // Somebody a moment later gets the same, and learns of when it is.
    let later = "2026-11-20T10:00:01Z".parse().unwrap();
    let again = slos.measure(&order(When::Now, &["same"]), &server, later, INTERVAL).await;
    assert_eq!((again[0].at, gate.asked()), (now(), 2));
    // Another tenant is another question; so is one of an interval whose quarter is over.
    gate.open.add_permits(2);
    let mut other = server.clone();
    other.headers.insert("X-Scope-OrgID".into(), "other".into());
    slos.measure(&order(When::Now, &["same"]), &other, later, INTERVAL).await;
    let newest = slos.measure(&order(When::Now, &["same"]), &server, later, Duration::from_nanos(4)).await;
    assert_eq!((newest[0].at, gate.asked()), (later, 4));
}

#[tokio::test]
async fn whoever_asked_first_may_stop_to_listen() {
    let (gate, server) = Gate::start().await;
    let slos = Slos::new().unwrap();
    let order = order(When::Now, &["same"]);
    {
        let first = slos.measure(&order, &server, now(), INTERVAL);
        assert!(first.now_or_never().is_none());
    }
    gate.until_waiting(1).await;
    gate.open.add_permits(1);
    let second = slos.measure(&order, &server, now(), INTERVAL).await;
    assert_eq!((second[0].reading.clone(), gate.asked()), (Reading::Value(1.0), 1));
}
