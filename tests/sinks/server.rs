//! A sink in the test's own hands: it answers as it is told, and remembers what it took.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u16),
    /// 429 with `Retry-After`, in seconds.
    Throttled(u64),
    /// To another path of the same server.
    Redirect,
    /// Not at all.
    Hangs,
    /// The connection breaks off after the records were taken.
    Drops,
    /// After so many milliseconds.
    Late(u64),
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) at: Instant,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether its records are taken, whatever the client hears of it.
    pub(crate) taken: bool,
}

impl Came {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Shared {
    answers: Mutex<VecDeque<Answer>>,
    bodies: Mutex<Vec<(&'static str, String)>>,
    came: Mutex<Vec<Came>>,
    count: watch::Sender<usize>,
}

/// The server, which can be killed and started again at the same address.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut server = Self { address, shared: Arc::default(), running: None };
        server.rise().await;
        server
    }

    pub(crate) async fn rise(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&self.shared));
        self.running = Some(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
    }

    /// Connections that are open break off.
    pub(crate) async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            running.await.ok();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests are answered so; all others with 200.
    pub(crate) fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.answers.lock().unwrap().extend(answers);
    }

    /// What a path is answered with.
    pub(crate) fn says(&self, path: &'static str, body: &str) {
        self.shared.bodies.lock().unwrap().push((path, body.to_owned()));
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.shared.came.lock().unwrap().clone()
    }

    /// Waits until this holds for what came.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&[Came]) -> bool) -> Vec<Came> {
        let mut count = self.shared.count.subscribe();
        let wait = async {
            loop {
                let came = self.came();
                if holds(&came) {
                    return came;
                }
                count.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        waited.unwrap_or_else(|_| panic!("{what}: {:#?}", self.came()))
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    _: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Infallible> {
    let is_token = uri.path() == "/token";
    let next = if is_token { None } else { shared.answers.lock().unwrap().pop_front() };
    let next = next.unwrap_or(Answer::Status(200));
    let taken = !is_token
        && match next {
            Answer::Status(status) => (200..300).contains(&status),
            Answer::Drops | Answer::Late(_) => true,
            Answer::Throttled(_) | Answer::Redirect | Answer::Hangs => false,
        };
    let said = shared.bodies.lock().unwrap().iter().find(|(path, _)| *path == uri.path()).cloned();
    let body_out = said.map_or_else(String::new, |(_, body)| body);
    shared.came.lock().unwrap().push(Came { at: Instant::now(), uri, headers, body, taken });
    shared.count.send_modify(|count| *count += 1);
    let status = |status: u16| Response::builder().status(StatusCode::from_u16(status).unwrap());
    let made = match next {
        Answer::Status(code) => status(code).body(Body::from(body_out)),
        Answer::Throttled(seconds) => status(429).header("retry-after", seconds).body(Body::empty()),
        Answer::Redirect => status(307).header("location", "/elsewhere").body(Body::empty()),
        Answer::Hangs => std::future::pending().await,
        Answer::Drops => {
            let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("dropped"))]);
            status(200).header("content-length", 10).body(Body::from_stream(broken))
        }
        Answer::Late(milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            status(200).body(Body::from(body_out))
        }
    };
    Ok(made.unwrap())
}
