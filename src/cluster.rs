//! The two clients for the Kubernetes API: one that may wait for long, one that must not.

#[cfg(test)]
pub(crate) mod fake;

use std::time::Duration;

use kube::{Client, Config};

/// How long connecting to the API server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one request may take: past it an answer is of no use, and looking again is cheap.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a watch may be silent. The server ends each after a minute, so a longer silence is a dead connection.
const WATCH_SILENCE_MAX: Duration = Duration::from_secs(90);

/// The clients for one API server.
#[derive(Clone)]
pub struct Clients {
    /// For lists and watches.
    pub watch: Client,
    /// For single requests: answers or fails within [`REQUEST_TIMEOUT`], and is never repeated behind our back.
    pub request: Client,
    /// The namespace of the kubeconfig's context or of the service account.
    pub namespace: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account is there.
    #[error(
        "no way to reach a Kubernetes API server: {0}; set KUBECONFIG, or run in a pod with a service account"
    )]
    NoConfig(#[from] Box<kube::config::InferConfigError>),
    /// The configuration names a file or a certificate that cannot be used.
    #[error("the configuration for the Kubernetes API server at {url} cannot be used: {source}")]
    BadConfig {
        /// The API server.
        url: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl Clients {
    /// Finds the API server as kubectl does: by kubeconfig, else by the pod's service account.
    pub async fn infer() -> Result<Self, ConnectError> {
        install_crypto();
        Self::new(&Config::infer().await.map_err(Box::new)?)
    }

    /// Builds both clients from one configuration.
    ///
    /// kube's own retry is off in both: it is silent for minutes, covers POST too, and would hide from
    /// the watches that they are blind. They repeat by themselves, and say so.
    pub fn new(config: &Config) -> Result<Self, ConnectError> {
        install_crypto();
        let client = |read_timeout| {
            let mut config = config.clone();
            config.connect_timeout = Some(CONNECT_TIMEOUT);
            config.read_timeout = Some(read_timeout);
            // Else the time that a pooled connection lay idle counts too.
            config.reset_reader_on_write = true;
            config.default_retry = false;
            let url = config.cluster_url.to_string();
            Client::try_from(config)
                .map_err(|source| ConnectError::BadConfig { url, source: Box::new(source) })
        };
        Ok(Self {
            watch: client(WATCH_SILENCE_MAX)?,
            request: client(REQUEST_TIMEOUT)?,
            namespace: config.default_namespace.clone(),
        })
    }
}

/// Makes ring the process's TLS provider, once; a later call changes nothing.
pub fn install_crypto() {
    // An error only means that one is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}
