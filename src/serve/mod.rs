//! The HTTP face: probes for Kubernetes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

/// Set by the daemon once all its watches have the whole picture; read by `/readyz`.
pub type Ready = Arc<AtomicBool>;

/// Answers requests until `shutdown` ends.
pub async fn serve(
    listener: TcpListener,
    ready: Ready,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(ready)).with_graceful_shutdown(shutdown).await
}

fn router(ready: Ready) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(ready)
}

// Being able to answer at all is what it means to be alive.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(ready): State<Ready>) -> (StatusCode, &'static str) {
    if ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first lists from the API server are not complete\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> u16 {
        crate::cluster::install_crypto();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("http://{address}{path}")).send().await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn is_alive_at_once_and_ready_when_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ready = Ready::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, ready.clone(), async { drop(stopped.await) }));

        assert_eq!(get(address, "/livez").await, 200);
        assert_eq!(get(address, "/readyz").await, 503);
        ready.store(true, Ordering::Release);
        assert_eq!(get(address, "/readyz").await, 200);
        assert_eq!(get(address, "/other").await, 404);

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
