//! Watches: a stream of JSON lines from a version on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Fault;
use super::error::ApiError;
use super::kinds::Resource;
use super::select::Selector;
use super::store::{Change, Store};

/// How often an idle watch tells its version.
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);

/// A watch without `timeoutSeconds` lasts this long; the real API server picks 30 to 60 minutes.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1800);

/// What a watch asks for.
pub(crate) struct WatchOrder {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
    /// None or 0: begin with what there is.
    pub(crate) from: Option<u64>,
    pub(crate) initial_events: bool,
    pub(crate) bookmarks: bool,
    pub(crate) timeout: Option<Duration>,
    /// How objects are written: whole, or only their metadata.
    pub(crate) shape: fn(&Value) -> Value,
}

struct Watching {
    order: WatchOrder,
    store: Store,
    changed: watch::Receiver<u64>,
    faults: watch::Receiver<Fault>,
    version: u64,
    first: Option<Vec<String>>,
    deadline: Instant,
    bookmark_at: Instant,
    over: bool,
}

/// The body of a watch's answer.
pub(crate) fn body(store: &Store, faults: watch::Receiver<Fault>, order: WatchOrder) -> Body {
    let changed = store.changed();
    let (version, first) = match order.from {
        Some(version) if version > 0 && !order.initial_events => (version, None),
        Some(_) | None => initial(store, &order),
    };
    let start = Instant::now();
    let watching = Watching {
        deadline: start + order.timeout.unwrap_or(TIMEOUT_DEFAULT),
        bookmark_at: start + BOOKMARK_EVERY,
        store: store.clone(),
        over: false,
        order,
        changed,
        faults,
        version,
        first,
    };
    Body::from_stream(stream::unfold(watching, async |mut watching| {
        let lines = watching.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(lines)), watching))
    }))
}

/// The events for what there is already.
fn initial(store: &Store, order: &WatchOrder) -> (u64, Option<Vec<String>>) {
    let (version, objects) = store.snapshot(order.resource, order.namespace.as_deref());
    let wanted = objects.iter().filter(|object| order.selector.matches(object));
    let mut lines: Vec<String> = wanted.map(|object| line("ADDED", &(order.shape)(object))).collect();
    if order.initial_events {
        lines.push(bookmark(order.resource, version, true));
    }
    (version, Some(lines))
}

impl Watching {
    /// The next lines; none at the end of the watch.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Some(first.concat());
        }
        loop {
            let fault = *self.faults.borrow_and_update();
            match fault {
                Fault::None => {}
                Fault::Hang => {
                    self.faults.changed().await.ok()?;
                    continue;
                }
                Fault::Unavailable | Fault::DropWatches | Fault::Stopped => return None,
            }
            if self.over {
                return None;
            }
            self.changed.mark_unchanged();
            match self.store.since(self.version) {
                Ok((version, changes)) => {
                    self.version = version;
                    let lines: String =
                        changes.iter().filter_map(|change| event(&self.order, change)).collect();
                    if !lines.is_empty() {
                        return Some(lines);
                    }
                }
                Err(error) => {
                    self.over = true;
                    return Some(line("ERROR", &error.status()));
                }
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                fault = self.faults.changed() => fault.ok()?,
                () = sleep_until(self.deadline) => return None,
                () = sleep_until(self.bookmark_at), if self.order.bookmarks => {
                    self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
                    return Some(bookmark(self.order.resource, self.version, false));
                }
            }
        }
    }
}

/// What a change looks like to this watch: an object that begins or ceases to match comes or goes.
fn event(order: &WatchOrder, change: &Change) -> Option<String> {
    if !change.key.is_of(order.resource, order.namespace.as_deref()) {
        return None;
    }
    let matching = |object: &Option<Arc<Value>>| {
        object.as_ref().filter(|object| order.selector.matches(object)).map(Arc::clone)
    };
    let (kind, object) = match (matching(&change.before), matching(&change.after)) {
        (None, Some(after)) => ("ADDED", after),
        (Some(_), Some(after)) => ("MODIFIED", after),
        (Some(before), None) => ("DELETED", before),
        (None, None) => return None,
    };
    let mut object = (order.shape)(&object);
    // Also a deletion is told with its own version, so that a watch continues after it.
    crate::sandbox::json::set(
        &mut object,
        &["metadata", "resourceVersion"],
        json!(change.version.to_string()),
    );
    Some(line(kind, &object))
}

fn bookmark(resource: &Resource, version: u64, initial_end: bool) -> String {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if initial_end {
        let end = json!({"k8s.io/initial-events-end": "true"});
        crate::sandbox::json::set(&mut metadata, &["annotations"], end);
    }
    line(
        "BOOKMARK",
        &json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata}),
    )
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// Refuses a start that cannot be read.
pub(crate) fn start_version(text: Option<&str>) -> Result<Option<u64>, ApiError> {
    text.filter(|text| !text.is_empty())
        .map(|text| {
            text.parse().map_err(|_| ApiError::bad_request(format!("invalid resource version: `{text}`")))
        })
        .transpose()
}
