//! A Prometheus with a history: what each query gave at each time is a function.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of a test are small"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Path, State};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// What a query gave at a time, in seconds since 1970; none where there was no series.
type Gave = fn(&str, f64) -> Option<f64>;

/// The running server; ends when it is dropped.
pub(crate) struct History {
    /// Its address.
    pub(crate) url: String,
    /// What it was asked, as `path query`.
    #[allow(dead_code, reason = "not every test that serves a history looks")]
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    /// Runs it.
    _runtime: Runtime,
}

#[derive(Clone)]
struct Shared {
    gave: Gave,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Starts a server of this history.
pub(crate) fn serve(gave: Gave) -> History {
    let runtime = Runtime::new().unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let router = Router::new()
        .route("/api/v1/{path}", post(answer))
        .with_state(Shared { gave, asked: Arc::clone(&asked) });
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async { axum::serve(listener, router).await });
    History { url, asked, _runtime: runtime }
}

async fn answer(
    State(shared): State<Shared>,
    Path(path): Path<String>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Json<Value> {
    let query = &form["query"];
    shared.asked.lock().unwrap().push(format!("{path} {query}"));
    let time = |name: &str| {
        let text = &form[name];
        text.parse()
            .unwrap_or_else(|_| text.parse::<jiff::Timestamp>().unwrap().as_millisecond() as f64 / 1e3)
    };
    let value = |at: f64| (shared.gave)(query, at).map(|value| json!([at, value.to_string()]));
    let data = if path == "query_range" {
        let (start, end, step) = (time("start"), time("end"), time("step"));
        let steps = ((end - start) / step).round() as u32;
        assert!(steps < 11_000, "Prometheus refuses more than 11,000 points");
        let values: Vec<Value> = (0..=steps).filter_map(|k| value(start + f64::from(k) * step)).collect();
        let series: Vec<Value> =
            if values.is_empty() { Vec::new() } else { vec![json!({"metric": {}, "values": values})] };
        json!({"resultType": "matrix", "result": series})
    } else {
        let series = value(time("time")).map(|value| json!({"metric": {}, "value": value}));
        json!({"resultType": "vector", "result": Vec::from_iter(series)})
    };
    Json(json!({"status": "success", "data": data}))
}
