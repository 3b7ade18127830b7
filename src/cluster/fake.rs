//! An API server in the test's own hands.

use std::pin::pin;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A request, as far as tests look at it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

impl Asked {
    /// Whether it opens a watch.
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }
}

/// What a request gets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status and a body.
    Json(u16, Value),
    /// Nothing, for ever.
    Silence,
}

/// A client whose every request is answered by `answer`.
pub(crate) fn client(mut answer: impl FnMut(Asked) -> Answer + Send + 'static) -> Client {
    let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    tokio::spawn(async move {
        let mut handle = pin!(handle);
        let mut unanswered = Vec::new();
        while let Some((request, send)) = handle.next_request().await {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.expect("a request's body is in memory").to_bytes();
            let asked = Asked {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
            };
            match answer(asked) {
                Answer::Json(status, body) => {
                    let body = Body::from(body.to_string().into_bytes());
                    send.send_response(
                        Response::builder().status(status).body(body).expect("a valid status"),
                    );
                }
                Answer::Silence => unanswered.push(send),
            }
        }
    });
    Client::new(service, "default")
}

/// The API server's way to say no.
pub(crate) fn refusal(code: u16, reason: &str) -> Answer {
    let status =
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason });
    Answer::Json(code, status)
}

/// A complete list.
pub(crate) fn list(items: &[Value]) -> Answer {
    Answer::Json(200, json!({ "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items }))
}
