//! A server that answers as was recorded, and nothing that was not asked as recorded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

/// One request as it must come, and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    /// `METHOD path?query`.
    ask: String,
    /// The body that it must have; none where it must have none.
    #[serde(default)]
    with: Value,
    /// The answer's status.
    status: u16,
    /// Its headers.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// Its body.
    #[serde(default)]
    answer: Value,
}

struct Shared {
    left: VecDeque<Exchange>,
    wrong: Vec<String>,
    authorization: String,
}

pub(crate) struct Replay {
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
}

impl Replay {
    /// Replays a list of exchanges, in their order.
    pub(crate) async fn start(exchanges: &str, authorization: &str) -> Self {
        let left = serde_json::from_str(exchanges).unwrap();
        let shared = Shared { left, wrong: Vec::new(), authorization: authorization.to_owned() };
        let shared = Arc::new(Mutex::new(shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// Fails if anything was asked otherwise, or not asked at all.
    #[track_caller]
    pub(crate) fn finish(&self) {
        let shared = self.shared.lock().unwrap();
        assert!(shared.wrong.is_empty(), "{}", shared.wrong.join("\n"));
        assert!(shared.left.is_empty(), "never asked: {:#?}", shared.left);
    }
}

async fn answer(
    State(shared): State<Arc<Mutex<Shared>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut shared = shared.lock().unwrap();
    let asked = format!("{method} {uri}");
    let with: Value = serde_json::from_slice(&body).unwrap_or_default();
    let authorization = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let expected = shared.left.pop_front();
    let right =
        expected.filter(|e| e.ask == asked && e.with == with && authorization == shared.authorization);
    let Some(right) = right else {
        shared.wrong.push(format!("asked otherwise: {asked} with {with}, authorised by `{authorization}`"));
        return Response::builder().status(418).body(Body::empty()).unwrap();
    };
    let mut response = Response::builder().status(right.status);
    for (name, value) in &right.headers {
        response = response.header(name, value);
    }
    let body = if right.answer.is_null() { String::new() } else { right.answer.to_string() };
    response.body(Body::from(body)).unwrap()
}
