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
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.is_not_found() => {
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
