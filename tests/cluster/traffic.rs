//! The traffic of every application, as Prometheus sees it: counters that follow what really runs.
//!
//! Each application with ready pods is asked 50 times a second, spread evenly over its ready pods; how many requests
//! fail or are slow depends on the tag of the image that a pod runs. Nothing is counted while no pod is ready.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};

const REQUESTS_PER_SECOND: f64 = 50.0;

/// Shares of the requests that a pod answers badly.
struct Behaviour {
    errors: f64,
    slow: f64,
}

/// How an image behaves, by its tag.
fn behaviour(image: &str) -> Behaviour {
    match image.rsplit_once(':').map(|(_, tag)| tag) {
        Some("errors") => Behaviour { errors: 0.3, slow: 0.0 },
        Some("slow") => Behaviour { errors: 0.0, slow: 0.8 },
        _ => Behaviour { errors: 0.0, slow: 0.0 },
    }
}

/// Requests so far, by how they went.
#[derive(Default)]
struct Counts {
    ok: f64,
    failed: f64,
    slow: f64,
}

/// A series' owner: namespace and application.
type Owner = (String, String);

struct Traffic {
    pods: Store<Pod>,
    counted: Mutex<(Instant, BTreeMap<Owner, Counts>)>,
}

/// Serves `/metrics` for every pod of the cluster that has the label `app`; ends with the runtime.
pub(crate) async fn serve(client: &Client) -> Result<SocketAddr> {
    let (pods, writer) = reflector::store();
    let watch = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default().labels("app"));
    let mut watch = Box::pin(watch.default_backoff().reflect(writer));
    tokio::spawn(async move { while watch.next().await.is_some() {} });

    let traffic = Arc::new(Traffic { pods, counted: Mutex::new((Instant::now(), BTreeMap::new())) });
    let app = Router::new().route("/metrics", get(metrics)).with_state(traffic);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn metrics(State(traffic): State<Arc<Traffic>>) -> String {
    traffic.advance(Instant::now());
    traffic.render()
}

impl Traffic {
    /// Counts the requests since the last time, as the pods that are ready now would have answered them.
    fn advance(&self, now: Instant) {
        let mut ready: BTreeMap<Owner, Vec<Behaviour>> = BTreeMap::new();
        for pod in self.pods.state() {
            let Some(app) = pod.labels().get("app") else { continue };
            let owner = (pod.namespace().unwrap_or_default(), app.clone());
            // An owner without a ready pod keeps its series: counters do not vanish during an outage.
            let pods = ready.entry(owner).or_default();
            if let Some(image) = image_if_ready(&pod) {
                pods.push(behaviour(image));
            }
        }
        let mut counted = self.counted.lock().expect("nobody panics with this lock");
        let (last, counts) = &mut *counted;
        let elapsed = now.saturating_duration_since(std::mem::replace(last, now)).min(Duration::from_secs(5));
        for (owner, pods) in ready {
            let counts = counts.entry(owner).or_default();
            let pods_count = f64::from(u32::try_from(pods.len()).unwrap_or(u32::MAX));
            for pod in &pods {
                let requests = REQUESTS_PER_SECOND * elapsed.as_secs_f64() / pods_count;
                counts.ok += requests * (1.0 - pod.errors);
                counts.failed += requests * pod.errors;
                counts.slow += requests * pod.slow;
            }
        }
    }

    fn render(&self) -> String {
        let counted = self.counted.lock().expect("nobody panics with this lock");
        let mut requests = vec!["# TYPE http_requests_total counter".to_owned()];
        let mut durations = vec!["# TYPE http_request_duration_seconds histogram".to_owned()];
        for ((namespace, app), Counts { ok, failed, slow }) in &counted.1 {
            let owner = format!(r#"app="{app}",namespace="{namespace}""#);
            let all = ok + failed;
            let fast = all - slow;
            for (code, count) in [("200", ok), ("500", failed)] {
                requests.push(format!(r#"http_requests_total{{{owner},code="{code}"}} {count}"#));
            }
            for (limit, count) in [("0.25", fast), ("1", all), ("+Inf", all)] {
                let name = "http_request_duration_seconds_bucket";
                durations.push(format!(r#"{name}{{{owner},le="{limit}"}} {count}"#));
            }
            let seconds = 0.05 * fast + 0.8 * slow;
            durations.push(format!("http_request_duration_seconds_count{{{owner}}} {all}"));
            durations.push(format!("http_request_duration_seconds_sum{{{owner}}} {seconds}"));
        }
        requests.append(&mut durations);
        requests.join("\n") + "\n"
    }
}

/// The image of a pod that takes requests.
fn image_if_ready(pod: &Pod) -> Option<&str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !ready || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    pod.spec.as_ref()?.containers.first()?.image.as_deref()
}
