//! A stand-in for Prometheus: `/api/v1/query` and `/api/v1/query_range` over counters that it scrapes from the shop's pods.
//!
//! `http_requests_total{app,namespace,pod,code}` counts the requests to ready pods. Series of pods that are gone
//! end at once, as with Prometheus' staleness markers. What it does not evaluate it refuses by name.

mod binary;
mod eval;
mod query;
mod series;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use http::{StatusCode, Uri, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::query::Parameters;
use self::series::Database;
use super::apiserver::Store;
use super::clock::Clock;
use super::server::{Server, ServerError};

/// What is wrong with Prometheus, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every request is answered 503.
    Unavailable,
    /// Every answer takes this long.
    Slow(Duration),
    /// No pod can be scraped, so queries find nothing.
    NoTargets,
}

/// The running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    metrics: Metrics,
    server: Server,
}

/// The series, shared with the sandbox's loop.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    database: Arc<Mutex<Database>>,
    fault: Arc<watch::Sender<Fault>>,
    clock: Clock,
}

impl Metrics {
    pub(super) fn new(clock: Clock) -> Self {
        Self { database: Arc::default(), fault: Arc::new(watch::Sender::new(Fault::None)), clock }
    }

    fn fault(&self) -> Fault {
        *self.fault.borrow()
    }

    /// Counts requests up to now, and scrapes when it is time.
    pub(super) fn tick(&self, store: &Store, now: Timestamp) {
        let reachable = self.fault() != Fault::NoTargets;
        self.database.lock().unwrap_or_else(PoisonError::into_inner).tick(store, reachable, now);
    }
}

impl Prometheus {
    /// Serves series on a free port of 127.0.0.1.
    pub(super) async fn start(metrics: Metrics) -> Result<Self, ServerError> {
        let router = Router::new()
            .route("/api/v1/query", method(query::instant))
            .route("/api/v1/query_range", method(query::range))
            .route("/-/ready", get(async || "Prometheus Server is Ready.\n"))
            .with_state(metrics.clone());
        Ok(Self { metrics, server: Server::start("Prometheus", router).await? })
    }

    /// Its address, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Switches a fault on, or all off with [`Fault::None`].
    pub fn set_fault(&self, fault: Fault) {
        self.metrics.fault.send_replace(fault);
    }

    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}

type Method = fn(&Metrics, &Parameters) -> Result<Value, query::Refusal>;

/// A method of the API, which takes its parameters from the query part and from a form.
fn method(method: Method) -> MethodRouter<Metrics> {
    let get_it = async move |State(metrics): State<Metrics>, uri: Uri| {
        answer(&metrics, method, uri.query().unwrap_or_default()).await
    };
    let post_it = async move |State(metrics): State<Metrics>, uri: Uri, body: Bytes| {
        let form = format!("{}&{}", String::from_utf8_lossy(&body), uri.query().unwrap_or_default());
        answer(&metrics, method, &form).await
    };
    get(get_it).post(post_it)
}

async fn answer(metrics: &Metrics, method: Method, form: &str) -> Response {
    match metrics.fault() {
        Fault::None | Fault::NoTargets => {}
        Fault::Slow(by) => tokio::time::sleep(by).await,
        Fault::Unavailable => {
            let mut response = Response::new(Body::from("Service Unavailable\n"));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return response;
        }
    }
    match query::parameters(form).and_then(|parameters| method(metrics, &parameters)) {
        Ok(data) => respond(StatusCode::OK, &json!({"status": "success", "data": data})),
        Err((code, kind, error)) => {
            respond(code, &json!({"status": "error", "errorType": kind, "error": error}))
        }
    }
}

fn respond(code: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = code;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
