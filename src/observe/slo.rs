//! Sends SLO queries to Prometheus and reads one number, or why there is none, out of each answer.

mod answer;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use prometheus_http_query::{Client, Error};

use self::answer::Answer;
use crate::engine::action::MeasureOrder;
use crate::engine::event::SloAnswer;
use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::Prometheus;

/// Queries that one order has on their way at the same time: a Prometheus runs twenty at most, for everybody.
const CONCURRENT_MAX: usize = 4;

/// Bytes of an answer that are read. One number takes two hundred; a query that forgot to aggregate takes megabytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends queries to Prometheus servers, and keeps the connections.
pub struct Slos {
    http: reqwest::Client,
    /// By base URL.
    clients: Mutex<BTreeMap<String, Client>>,
}

impl Slos {
    /// Makes the HTTP client that all queries share; fails only if the system's certificates cannot be used.
    pub fn new() -> Result<Self, reqwest::Error> {
        crate::cluster::install_crypto();
        let http = reqwest::Client::builder()
            // HTTPS_PROXY is meant for Git, and would see the queries.
            .no_proxy()
            // A redirected POST would be sent again as GET, without the query.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self { http, clients: Mutex::default() })
    }

    /// Sends all queries of an order, for each of its times (none means `now`), and gives an answer for each.
    ///
    /// The answers come query by query, in the order's order.
    pub async fn measure(
        &self,
        order: &MeasureOrder,
        prometheus: &Prometheus,
        now: Timestamp,
    ) -> Vec<SloAnswer> {
        let times: Vec<Option<Timestamp>> =
            if order.times.is_empty() { vec![None] } else { order.times.iter().copied().map(Some).collect() };
        let asked = order.queries.iter().flat_map(|query| times.iter().map(move |at| (query, *at)));
        let answers = asked.map(|(query, at)| async move {
            let reading = self.query(prometheus, &query.promql, at).await;
            SloAnswer { slo: query.slo.clone(), at: at.unwrap_or(now), reading }
        });
        stream::iter(answers.collect::<Vec<_>>()).buffered(CONCURRENT_MAX).collect().await
    }

    /// Sends one query, evaluated at a time, or by the server's own clock when none is given.
    pub async fn query(&self, prometheus: &Prometheus, promql: &str, at: Option<Timestamp>) -> Reading {
        match tokio::time::timeout(prometheus.timeout, self.ask(prometheus, promql, at)).await {
            Ok(Ok(value)) => Reading::Value(value),
            Ok(Err(gap)) => Reading::Gap(gap),
            Err(_) => Reading::Gap(Gap::TimedOut),
        }
    }

    async fn ask(&self, prometheus: &Prometheus, promql: &str, at: Option<Timestamp>) -> Result<f64, Gap> {
        let mut query = self.client(&prometheus.url)?.query(promql);
        // The server need not go on after we have stopped listening.
        if let Ok(millis) = i64::try_from(prometheus.timeout.as_millis()) {
            query = query.timeout(millis);
        }
        if let Some(at) = at {
            query = query.query("time", at);
        }
        // The typed answer would drop the warnings, and with them the news that it is incomplete.
        let mut response = query.post_raw().await.map_err(|error| not_sent(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Gap::ServerError(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Answer::read(response.status(), &body)?.number()
    }

    fn client(&self, url: &str) -> Result<Client, Gap> {
        // Only a panic poisons, and none can happen between the map's two states.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(url) {
            return Ok(client.clone());
        }
        let client = Client::from(self.http.clone(), url).map_err(|error| not_sent(&error))?;
        clients.insert(url.to_owned(), client.clone());
        Ok(client)
    }
}

// Without the URL: it may hold a password.
fn not_sent(error: &Error) -> Gap {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    cause.map_or_else(|| Gap::Unreachable(error.to_string()), broken)
}

fn broken(error: &reqwest::Error) -> Gap {
    if error.is_timeout() {
        return Gap::TimedOut;
    }
    // The innermost cause says it best: "Connection refused", "failed to lookup address".
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Gap::Unreachable(cause.to_string())
}

#[cfg(test)]
mod tests;
