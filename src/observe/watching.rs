//! A watch that lists again after every failure, so that it always knows whether it has the whole picture.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// Objects in one answer to a list. The largest lever on memory: a page is decoded as a whole.
const PAGE_SIZE: u32 = 50;

/// Seconds after which the server ends a watch. A silently dead connection is noticed five seconds later.
const TIMEOUT_SECONDS: u32 = 60;

/// How long a watch may fail before it counts as down: long enough for an API server's restart to pass unnoticed.
const FAILING_MAX: Duration = Duration::from_secs(10);

/// How long until a kind that the cluster does not have is looked for again.
const ABSENT_RETRY: Duration = Duration::from_secs(300);

/// What a watch tells.
pub(super) enum Watched<K> {
    /// A list begins; what it does not name until [`Watched::Complete`] is gone.
    Listing,
    /// An object exists like this.
    Object(K),
    /// An object is gone.
    Gone(K),
    /// All objects that exist were told. Ends [`Watched::Down`] and [`Watched::Absent`].
    Complete,
    /// The picture is out of date: the watch fails for longer than a retry takes.
    Down(String),
    /// The cluster does not know this kind, so there are no objects.
    Absent,
}

/// One watch over the objects of one kind.
pub(super) struct Watching<K> {
    api: Api<K>,
    what: &'static str,
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    backoff: DefaultBackoff,
    retry_at: Option<Instant>,
    failing: Option<Failing>,
}

struct Failing {
    since: Instant,
    error: String,
    told: bool,
}

impl<K> Watching<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Watches all objects that `api` covers; `what` is their name for people.
    pub(super) fn new(api: Api<K>, what: &'static str) -> Self {
        let events = watch(api.clone());
        Self { api, what, events, backoff: DefaultBackoff::default(), retry_at: None, failing: None }
    }

    /// Waits for the next thing to tell. Never ends.
    pub(super) async fn next(&mut self) -> Watched<K> {
        loop {
            let deadline =
                self.failing.as_ref().filter(|failing| !failing.told).map(|f| f.since + FAILING_MAX);
            let event = match deadline {
                None => self.event().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, self.event()).await {
                    Ok(event) => event,
                    Err(_) => return self.down(),
                },
            };
            match event {
                Ok(Some(event)) => return self.told(event),
                Ok(None) => self.failed("the stream ended".into()),
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
                    debug!(what = self.what, "The cluster does not have this kind.");
                    self.failing = None;
                    self.retry_at = Some(Instant::now() + ABSENT_RETRY);
                    return Watched::Absent;
                }
                Err(error) => self.failed(error.to_string()),
            }
        }
    }

    // Safe to drop at any point: what was waited for is waited for again.
    async fn event(&mut self) -> Result<Option<Event<K>>, watcher::Error> {
        if let Some(at) = self.retry_at {
            tokio::time::sleep_until(at).await;
            self.events = watch(self.api.clone());
            self.retry_at = None;
        }
        self.events.try_next().await
    }

    fn down(&mut self) -> Watched<K> {
        let error = self.failing.as_mut().map_or_else(String::new, |failing| {
            failing.told = true;
            failing.error.clone()
        });
        warn!(what = self.what, error, "A watch is down.");
        Watched::Down(error)
    }

    fn told(&mut self, event: Event<K>) -> Watched<K> {
        match event {
            Event::Init => Watched::Listing,
            Event::InitApply(object) | Event::Apply(object) => Watched::Object(object),
            Event::Delete(object) => Watched::Gone(object),
            Event::InitDone => {
                if self.failing.take().is_some_and(|failing| failing.told) {
                    info!(what = self.what, "A watch is up again.");
                }
                Watched::Complete
            }
        }
    }

    // A watch that fails and goes on by itself would not say when it has caught up; a new list does.
    fn failed(&mut self, error: String) {
        debug!(what = self.what, error, "A watch failed.");
        let now = Instant::now();
        match &mut self.failing {
            Some(failing) => failing.error = error,
            None => self.failing = Some(Failing { since: now, error, told: false }),
        }
        self.retry_at = Some(now + self.backoff.next().unwrap_or(FAILING_MAX));
    }
}

fn watch<K>(api: Api<K>) -> BoxStream<'static, Result<Event<K>, watcher::Error>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().page_size(PAGE_SIZE).timeout(TIMEOUT_SECONDS);
    watcher::watcher(api, config).boxed()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use kube::core::PartialObjectMeta;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::fake::{self, Answer};

    type Pod = PartialObjectMeta<k8s_openapi::api::core::v1::Pod>;

    /// Watches with an API server that gives these answers to lists; the last one again and again.
    fn watching(lists: Vec<Answer>, watch: Answer) -> Watching<Pod> {
        let mut lists = VecDeque::from(lists);
        let client = fake::client(move |asked| match asked.is_watch() {
            true => watch.clone(),
            false if lists.len() > 1 => lists.pop_front().unwrap(),
            false => lists.front().cloned().unwrap(),
        });
        Watching::new(Api::all(client), "pods")
    }

    fn pod(name: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "n", "resourceVersion": "1" } })
    }

    async fn told(watching: &mut Watching<Pod>, times: usize) -> String {
        let mut told = Vec::new();
        for _ in 0..times {
            told.push(match watching.next().await {
                Watched::Listing => "listing".into(),
                Watched::Object(object) => format!("object {}", kube::ResourceExt::name_any(&object)),
                Watched::Gone(object) => format!("gone {}", kube::ResourceExt::name_any(&object)),
                Watched::Complete => "complete".into(),
                Watched::Down(_) => "down".into(),
                Watched::Absent => "absent".into(),
            });
        }
        told.join(", ")
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_watch_lists_again() {
        let lists = vec![fake::list(&[pod("a")]), fake::list(&[])];
        let mut watching = watching(lists, fake::refusal(500, "InternalError"));
        assert_eq!(told(&mut watching, 5).await, "listing, object a, complete, listing, complete");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_goes_on_failing_is_down_until_a_list_is_complete() {
        let down = || fake::refusal(500, "InternalError");
        let mut lists: Vec<_> = (0..6).map(|_| down()).collect();
        lists.push(fake::list(&[]));
        let mut watching = watching(lists, Answer::Silence);
        let before = Instant::now();
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "complete") {
            seen.push(told(&mut watching, 1).await);
            if seen.last().is_some_and(|last| last == "down") {
                assert!((10..12).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
            }
        }
        assert_eq!(seen.iter().filter(|what| *what == "down").count(), 1, "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_not_there_is_looked_for_rarely() {
        let lists = vec![fake::refusal(404, "NotFound"), fake::list(&[pod("a")])];
        let mut watching = watching(lists, Answer::Silence);
        let before = Instant::now();
        assert_eq!(told(&mut watching, 2).await, "listing, absent");
        assert!(before.elapsed() < Duration::from_secs(1));
        assert_eq!(told(&mut watching, 3).await, "listing, object a, complete");
        assert!(before.elapsed() >= ABSENT_RETRY);
    }
}
