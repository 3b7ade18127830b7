//! A stand-in for the Kubernetes API server: what lastgood uses of it, over real HTTP.
//!
//! Honest in what clients rely on: one version for all objects, optimistic locking, generations, the status
//! subresource where there is one, watches that begin at a version and tell 410 when it is too old, graceful
//! deletion of pods, `Status` bodies. Left out: schemas and defaults, access control, server-side apply, JSON
//! patches, admission; what is asked for and left out is refused by name.

mod error;
mod kinds;
mod parts;
mod routes;
mod select;
mod store;
mod watch;

use axum::Router;
use tokio::sync::watch as channel;

pub use self::error::ApiError;
pub use self::kinds::{
    ALL, APP_PROJECTS, APPLICATIONS, CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, EVENTS, JOBS, LAST_GOODS, LEASES,
    NAMESPACES, PODS, REPLICA_SETS, Resource, SECRETS, SERVICES, STATEFUL_SETS,
};
pub use self::parts::Part;
use self::routes::{Context, answer};
pub use self::store::Store;
pub(crate) use self::store::{Preconditions, short_hash};
use super::server::{Server, ServerError};

/// What is wrong with the API server, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every request is answered 503 and watches end.
    Unavailable,
    /// Requests wait and watches fall silent until the fault is switched off.
    Hang,
    /// Watches end at once, other requests work.
    DropWatches,
    /// The sandbox is being stopped.
    Stopped,
}

/// The running API server.
#[derive(Debug)]
pub struct ApiServer {
    /// The objects, for direct reading and writing.
    pub store: Store,
    server: Server,
    faults: channel::Sender<Fault>,
}

impl ApiServer {
    /// Serves a store on a free port of 127.0.0.1.
    pub async fn start(store: Store) -> Result<Self, ServerError> {
        let faults = channel::Sender::new(Fault::None);
        let context = Context { store: store.clone(), faults: faults.subscribe() };
        let router = Router::new().fallback(answer).with_state(context);
        let server = Server::start("the API server", router).await?;
        Ok(Self { store, server, faults })
    }

    /// Its address, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Switches a fault on, or all off with [`Fault::None`].
    pub fn set_fault(&self, fault: Fault) {
        self.faults.send_replace(fault);
    }

    /// Ends all watches and stops listening.
    pub async fn stop(self) {
        self.set_fault(Fault::Stopped);
        self.server.stop().await;
    }
}
