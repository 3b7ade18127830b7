//! Stand-ins for a cluster, Prometheus and Argo CD, in this process and over real HTTP, for the demo and fast tests.
//!
//! ```text
//!  developer --commit--> bare repository <--follows-- reconciler --writes--> store <--HTTP--> API server
//!                                                                              ^
//!                                                     scrapes ready pods ------+---> series <--HTTP--> Prometheus
//! ```

pub mod apiserver;
mod clock;
pub mod demo;
mod developer;
mod json;
pub mod prometheus;
pub mod reconciler;
mod server;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use self::apiserver::{APP_PROJECTS, APPLICATIONS, ApiError, ApiServer, NAMESPACES, Store};
pub use self::clock::Clock;
pub use self::developer::{Developer, DeveloperError};
use self::prometheus::{Metrics, Prometheus};
use self::reconciler::{Pace, Reconciler};
pub use self::server::ServerError;

/// The step of the sandbox's time, and the period of its loop.
const STEP: Duration = Duration::from_millis(100);

/// The branch that the Application follows.
pub const BRANCH: &str = "main";

/// The namespace of Argo CD.
pub const ARGOCD_NAMESPACE: &str = "argocd";

/// The name of the Application, of its namespace and of its Deployment.
pub const APP: &str = "shop";

/// The file that a deploy of the shop changes.
pub const DEPLOYMENT_FILE: &str = "apps/shop/deployment.yaml";

/// Why the sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A server could not listen.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The repository could not be made.
    #[error(transparent)]
    Repository(#[from] DeveloperError),
    /// The first objects could not be made.
    #[error("the sandbox's first objects were refused by its API server ({0}); please report this")]
    Objects(#[from] ApiError),
}

/// How a sandbox runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time in it.
    pub clock: Clock,
    /// How long things take.
    pub pace: Pace,
    /// Whether it runs by itself; otherwise [`Sandbox::advance`] moves it.
    pub running: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Clock::real(), pace: Pace::default(), running: true }
    }
}

impl Options {
    /// Stands still until it is advanced: for tests without sleeping.
    pub fn by_hand(start: Timestamp) -> Self {
        Self { clock: Clock::manual(start), running: false, ..Self::default() }
    }
}

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// The API server, with its objects and its faults.
    pub api: ApiServer,
    /// Prometheus, with its faults.
    pub prometheus: Prometheus,
    clock: Clock,
    repository: PathBuf,
    developer: Developer,
    world: Arc<Mutex<World>>,
    task: Option<JoinHandle<()>>,
}

/// All that moves with time.
#[derive(Debug)]
struct World {
    store: Store,
    reconciler: Reconciler,
    metrics: Metrics,
}

impl World {
    fn tick(&mut self, now: Timestamp) {
        self.reconciler.tick(now);
        self.metrics.tick(&self.store, now);
    }
}

impl Sandbox {
    /// Starts everything in real time, with the repository and one good version of the shop in `dir`.
    pub async fn start(dir: &Path) -> Result<Self, SandboxError> {
        Self::start_with(dir, Options::default()).await
    }

    /// Starts everything as the options say.
    pub async fn start_with(dir: &Path, options: Options) -> Result<Self, SandboxError> {
        let Options { clock, pace, running } = options;
        let repository = dir.join("repo.git");
        let developer = Developer::new_repository(&repository, BRANCH, clock.clone())?;
        let readme =
            "# The shop's deployments\n\nArgo CD follows the folder `apps/shop` of this repository.\n";
        developer.commit(
            &[("README.md", Some(readme)), (DEPLOYMENT_FILE, Some(&shop_manifest("v1")))],
            "shop: first version\n",
            "Ada <ada@example.com>",
        )?;
        let store = Store::new(clock.clone());
        for namespace in ["default", "kube-system", ARGOCD_NAMESPACE, APP] {
            store.create(&NAMESPACES, "", json!({"metadata": {"name": namespace}}))?;
        }
        let project = json!({"metadata": {"name": "default"}, "spec": {"sourceRepos": ["*"],
            "destinations": [{"server": "*", "namespace": "*"}]}});
        store.create(&APP_PROJECTS, ARGOCD_NAMESPACE, project)?;
        store.create(&APPLICATIONS, ARGOCD_NAMESPACE, application(&repository_url(&repository)))?;
        let metrics = Metrics::new(clock.clone());
        let reconciler = Reconciler::new(store.clone(), pace);
        let world = World { store: store.clone(), reconciler, metrics: metrics.clone() };
        let world = Arc::new(Mutex::new(world));
        let api = ApiServer::start(store).await?;
        let prometheus = Prometheus::start(metrics).await?;
        let task = running.then(|| tokio::spawn(run(Arc::clone(&world), clock.clone())));
        Ok(Self { api, prometheus, clock, repository, developer, world, task })
    }

    /// The API server's address.
    pub fn api_url(&self) -> &str {
        self.api.url()
    }

    /// Prometheus' address.
    pub fn prometheus_url(&self) -> &str {
        self.prometheus.url()
    }

    /// The objects.
    pub fn store(&self) -> &Store {
        &self.api.store
    }

    /// The bare repository's folder.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// The repository's URL, as the Application writes it.
    pub fn repository_url(&self) -> String {
        repository_url(&self.repository)
    }

    /// Commits to the repository as a developer does.
    pub fn developer(&self) -> &Developer {
        &self.developer
    }

    /// The time in the sandbox.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Moves a sandbox that does not run by itself, in steps of 100 ms.
    pub fn advance(&self, by: Duration) {
        let mut left = by;
        while !left.is_zero() {
            let step = left.min(STEP);
            self.clock.advance(step);
            self.tick();
            left -= step;
        }
    }

    /// Does what is due now.
    pub fn tick(&self) {
        self.world.lock().unwrap_or_else(PoisonError::into_inner).tick(self.clock.now());
    }

    /// Stops everything; the repository stays.
    pub async fn stop(self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        self.api.stop().await;
        self.prometheus.stop().await;
    }
}

async fn run(world: Arc<Mutex<World>>, clock: Clock) {
    let mut interval = tokio::time::interval(STEP);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let (world, now) = (Arc::clone(&world), clock.now());
        // Reading Git blocks. A panic in one step must not end the loop; the lock is taken over poisoned.
        let step = move || world.lock().unwrap_or_else(PoisonError::into_inner).tick(now);
        if tokio::task::spawn_blocking(step).await.is_err() {
            tracing::error!("The sandbox's reconciler panicked.");
        }
    }
}

fn repository_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// The Application that follows `apps/shop`, with auto-sync, prune and self-heal.
fn application(repo_url: &str) -> Value {
    json!({
        "metadata": {"name": APP, "labels": {"team": "storefront"}},
        "spec": {
            "project": "default",
            "source": {"repoURL": repo_url, "path": "apps/shop", "targetRevision": BRANCH},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": APP},
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
        },
    })
}

/// The shop's Deployment with an image tag; the tag decides what happens (`…-crash`, `…-missing`, `…errors…`).
pub fn shop_manifest(tag: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {APP}
  labels:
    app: {APP}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: {APP}
  template:
    metadata:
      labels:
        app: {APP}
    spec:
      containers:
        - name: {APP}
          image: registry.example.com/{APP}:{tag}
          ports:
            - containerPort: 8080
"
    )
}
