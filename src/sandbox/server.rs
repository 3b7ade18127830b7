//! An HTTP server on a free port of 127.0.0.1.

use std::io;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long open requests get when the server is stopped.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[error("{what} of the sandbox cannot listen on 127.0.0.1: {source}; is the loopback interface up?")]
pub struct ServerError {
    what: &'static str,
    source: io::Error,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(what: &'static str, router: Router) -> Result<Self, ServerError> {
        let failed = |source| ServerError { what, source };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let until = async move { stopped.await.unwrap_or_default() };
            // axum's serve never returns an error: it logs and goes on.
            axum::serve(listener, router).with_graceful_shutdown(until).await.unwrap_or_default();
        });
        Ok(Self { url, stop, task })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn stop(self) {
        let Self { stop, mut task, .. } = self;
        drop(stop);
        if timeout(STOP_WITHIN, &mut task).await.is_err() {
            task.abort();
        }
    }
}
