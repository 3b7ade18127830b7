//! Watches Argo CD's Applications and tells each change of what matters about them.

mod application;
mod digest;
mod origin;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use futures::future;
use kube::Client;
use kube::api::Api;
use tokio::sync::mpsc;
use tracing::{debug, error};

use self::application::Application;
use super::watching::{Watched, Watching};
use crate::engine::facts::{AppKey, ApplicationFacts};

/// What the watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// An Application, seen for the first time or changed in what matters.
    Application(Box<ApplicationFacts>),
    /// An Application was deleted.
    Gone(AppKey),
    /// All Applications that existed at the start were told; comes once.
    Ready,
}

/// Watches the Applications in `namespaces` (empty: in all) and tells each change, until nobody listens any more.
///
/// The client must be one for watches: without a short read timeout.
pub async fn watch(client: Client, namespaces: Vec<String>, tx: mpsc::Sender<Seen>) {
    let apis: Vec<Api<Application>> = if namespaces.is_empty() {
        vec![Api::all(client)]
    } else {
        let unique: BTreeSet<String> = namespaces.into_iter().collect();
        unique.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    // One for each watch, closed when its first list is complete.
    let (listing, mut listed) = mpsc::channel::<()>(1);
    let watches = apis.into_iter().map(|api| watch_one(api, tx.clone(), Some(listing.clone())));
    let watches = future::join_all(watches.collect::<Vec<_>>());
    drop(listing);
    let ready = async {
        // Nothing is ever sent: this ends when all watches have dropped their end.
        listed.recv().await;
        tx.send(Seen::Ready).await
    };
    let all = future::join(watches, ready);
    tokio::select! {
        _ = all => {}
        () = tx.closed() => debug!("Nobody listens to Applications any more."),
    }
}

/// Reads one Application as it is now; none where there is no such object, or it is no application yet.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub async fn read(client: &Client, app: &AppKey) -> Result<Option<Box<ApplicationFacts>>, kube::Error> {
    let api: Api<Application> = Api::namespaced(client.clone(), &app.namespace);
    let found = api.get_opt(&app.name).await?;
    Ok(found.and_then(|application| application.facts()).map(Box::new))
}

async fn watch_one(api: Api<Application>, tx: mpsc::Sender<Seen>, mut listing: Option<mpsc::Sender<()>>) {
    let mut watching = Watching::new(api, "applications");
    let mut known = Known::default();
    loop {
        let news = match watching.next().await {
            Watched::Listing => {
                known.begin_list();
                continue;
            }
            Watched::Object(application) => known.apply(&application).into_iter().collect(),
            Watched::Gone(application) => known.delete(&application).into_iter().collect(),
            Watched::Complete => known.end_list(),
            Watched::Absent => {
                error!(
                    "Argo CD is not installed: the cluster has no Applications; looking again in five minutes."
                );
                continue;
            }
            // Logged by the watch; an Application that is not seen is never acted on.
            Watched::Down(_) => continue,
        };
        let complete = known.complete;
        for seen in news {
            if tx.send(seen).await.is_err() {
                return;
            }
        }
        if complete {
            listing = None;
        } else if listing.is_none() {
            debug!("Listing Applications again.");
        }
    }
}

/// What was told about each Application: all that is kept of it in memory.
#[derive(Default)]
struct Known {
    told: BTreeMap<AppKey, ApplicationFacts>,
    /// Named by the list that goes on now.
    listed: BTreeSet<AppKey>,
    complete: bool,
}

impl Known {
    fn begin_list(&mut self) {
        self.listed.clear();
        self.complete = false;
    }

    fn apply(&mut self, application: &Application) -> Option<Seen> {
        let facts = application.facts()?;
        if !self.complete {
            self.listed.insert(facts.app.clone());
        }
        if self.told.get(&facts.app) == Some(&facts) {
            return None;
        }
        self.told.insert(facts.app.clone(), facts.clone());
        Some(Seen::Application(Box::new(facts)))
    }

    fn delete(&mut self, application: &Application) -> Option<Seen> {
        let app = application.key()?;
        self.told.remove(&app).map(|_| Seen::Gone(app))
    }

    /// Applications that were deleted while the watch was down.
    fn end_list(&mut self) -> Vec<Seen> {
        self.complete = true;
        let listed = std::mem::take(&mut self.listed);
        let (kept, gone) =
            std::mem::take(&mut self.told).into_iter().partition(|(app, _)| listed.contains(app));
        self.told = kept;
        let gone: BTreeMap<_, _> = gone;
        gone.into_keys().map(Seen::Gone).collect()
    }
}

#[cfg(test)]
mod tests;
