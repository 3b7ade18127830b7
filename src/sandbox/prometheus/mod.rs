//! A stand-in for Prometheus: `/api/v1/query` over counters that it scrapes from the shop's pods.
//!
//! `http_requests_total{app,namespace,pod,code}` counts the requests to ready pods. Series of pods that are gone
//! end at once, as with Prometheus' staleness markers. What it does not evaluate it refuses by name.

mod binary;
mod eval;
mod series;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use http::{StatusCode, Uri, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::eval::{Answer, evaluate};
use self::series::{Database, Labels, seconds};
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
            .route("/api/v1/query", get(query_get).post(query_post))
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

async fn query_get(State(metrics): State<Metrics>, uri: Uri) -> Response {
    answer(&metrics, uri.query().unwrap_or_default()).await
}

async fn query_post(State(metrics): State<Metrics>, uri: Uri, body: Bytes) -> Response {
    let form = String::from_utf8_lossy(&body);
    // Prometheus takes parameters from both places.
    answer(&metrics, &format!("{form}&{}", uri.query().unwrap_or_default())).await
}

async fn answer(metrics: &Metrics, form: &str) -> Response {
    match metrics.fault() {
        Fault::None | Fault::NoTargets => {}
        Fault::Slow(by) => tokio::time::sleep(by).await,
        Fault::Unavailable => {
            let mut response = Response::new(Body::from("Service Unavailable\n"));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return response;
        }
    }
    match query(metrics, form) {
        Ok(data) => respond(StatusCode::OK, &json!({"status": "success", "data": data})),
        Err((code, kind, error)) => {
            respond(code, &json!({"status": "error", "errorType": kind, "error": error}))
        }
    }
}

type Refusal = (StatusCode, &'static str, String);

fn query(metrics: &Metrics, form: &str) -> Result<Value, Refusal> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, "bad_data", why);
    let uri: Uri = format!("/?{form}").parse().map_err(|error| bad(format!("unreadable form: {error}")))?;
    let Query(parameters) = Query::<BTreeMap<String, String>>::try_from_uri(&uri)
        .map_err(|error| bad(format!("unreadable form: {error}")))?;
    let at = match parameters.get("time").filter(|time| !time.is_empty()) {
        None => seconds(metrics.clock.now()),
        Some(time) => moment(time).ok_or_else(|| {
            bad(format!("invalid parameter \"time\": cannot parse \"{time}\" to a valid timestamp"))
        })?,
    };
    let text = parameters.get("query").map(String::as_str).unwrap_or_default();
    let expr = promql_parser::parser::parse(text)
        .map_err(|error| bad(format!("invalid parameter \"query\": {error}")))?;
    let database = metrics.database.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = evaluate(&database, &expr, at)
        .map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, "execution", error.0))?;
    Ok(data(answer, at))
}

/// Reads seconds since 1970 or RFC 3339.
fn moment(text: &str) -> Option<f64> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.or_else(|| text.parse::<Timestamp>().ok().map(seconds))
}

fn data(answer: Answer, at: f64) -> Value {
    let value = |value: f64| json!([at, number(value)]);
    match answer {
        Answer::Scalar(scalar) => json!({"resultType": "scalar", "result": value(scalar)}),
        Answer::Vector(vector) => {
            let element = |(metric, number): (Labels, f64)| json!({"metric": metric, "value": value(number)});
            json!({"resultType": "vector", "result": vector.into_iter().map(element).collect::<Vec<_>>()})
        }
    }
}

/// Writes a number as Prometheus does.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

fn respond(code: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = code;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
