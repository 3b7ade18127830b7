//! One request for all who ask the same at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt as _, Shared};
use jiff::Timestamp;

use super::server::{Answer, Request, Servers};
use crate::engine::facts::Gap;

/// How long an answer may be given to others, at most. Prometheus scrapes no more often.
pub(super) const SHARED_MAX: Duration = Duration::from_secs(5);

/// Bytes of an answer that is kept for others; longer ones are only shared while they are on their way.
const KEPT_BYTES_MAX: usize = 64 * 1024;

type Pending = Shared<BoxFuture<'static, Result<Answer, Gap>>>;

/// What is on its way, and what has just arrived.
#[derive(Default)]
pub(super) struct Sharing(Mutex<BTreeMap<Request, Flight>>);

struct Flight {
    asked_at: Timestamp,
    since: Instant,
    answer: Pending,
}

impl Sharing {
    /// The answer to a request, and when it was asked for: sent now, or by somebody else not longer ago than `fresh`.
    pub(super) async fn send(
        self: &Arc<Self>,
        servers: &Arc<Servers>,
        request: Request,
        fresh: Duration,
        now: Timestamp,
    ) -> (Timestamp, Result<Answer, Gap>) {
        if fresh.is_zero() {
            return (now, servers.send(&request).await);
        }
        let (asked_at, answer) = self.join(servers, request, fresh.min(SHARED_MAX), now);
        (asked_at, answer.await)
    }

    fn join(
        self: &Arc<Self>,
        servers: &Arc<Servers>,
        request: Request,
        fresh: Duration,
        now: Timestamp,
    ) -> (Timestamp, Pending) {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&request).filter(|flight| flight.since.elapsed() < fresh) {
            return (flight.asked_at, flight.answer.clone());
        }
        flights.retain(|_, flight| flight.since.elapsed() < SHARED_MAX);
        let (all, servers, sent) = (Arc::clone(self), Arc::clone(servers), request.clone());
        // A task of its own: whoever asked first may stop to listen.
        let task = tokio::spawn(async move {
            let answer = servers.send(&sent).await;
            if matches!(&answer, Ok((_, body)) if body.len() > KEPT_BYTES_MAX) {
                all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&sent);
            }
            answer
        });
        let answer = task.map(|ended| ended.unwrap_or_else(|_| Err(Gap::Unreachable("cut off".to_owned()))));
        let answer = answer.boxed().shared();
        flights.insert(request, Flight { asked_at: now, since: Instant::now(), answer: answer.clone() });
        (now, answer)
    }
}
