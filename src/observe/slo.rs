//! Sends SLO queries to Prometheus and reads numbers, or why there are none, out of its answers.

mod answer;
mod range;
mod server;

use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;

use self::answer::number;
pub use self::range::{Labels, RangeSeries};
use self::server::Server;
use crate::engine::action::{MeasureOrder, When};
use crate::engine::event::SloAnswer;
use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::Prometheus;

/// Queries that one order has on their way at the same time: a Prometheus runs twenty at most, for everybody.
const CONCURRENT_MAX: usize = 4;

/// Bytes of an answer with one number that are read. It takes two hundred; a query that forgot to aggregate takes megabytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Sends queries to Prometheus servers, and keeps the connections.
pub struct Slos {
    http: reqwest::Client,
}

impl Slos {
    /// Makes the HTTP client that all queries share; fails only if the system's certificates cannot be used.
    pub fn new() -> Result<Self, reqwest::Error> {
        Ok(Self { http: server::http()? })
    }

    /// Sends all queries of an order and gives an answer for each of them at each of its times.
    ///
    /// The answers come query by query, in the order's order, oldest first.
    pub async fn measure(
        &self,
        order: &MeasureOrder,
        prometheus: &Prometheus,
        now: Timestamp,
    ) -> Vec<SloAnswer> {
        let asked = order.queries.iter().map(|query| async move {
            let promql = &query.promql;
            let answer = |(at, reading)| SloAnswer::new(query, at, reading);
            match order.when {
                When::Now => vec![answer((now, self.query(prometheus, promql, None).await))],
                When::Range { from, to, step } => {
                    let series = self.range(prometheus, promql, from, to, step).await;
                    range::readings(series, &order.when.times(now), step).map(answer).collect()
                }
            }
        });
        let answers: Vec<_> =
            stream::iter(asked.collect::<Vec<_>>()).buffered(CONCURRENT_MAX).collect().await;
        answers.into_iter().flatten().collect()
    }

    /// Sends one query, evaluated at a time, or by the server's own clock when none is given.
    pub async fn query(&self, prometheus: &Prometheus, promql: &str, at: Option<Timestamp>) -> Reading {
        let time = at.map(|at| at.to_string());
        let mut form = vec![("query", promql)];
        form.extend(time.as_deref().map(|time| ("time", time)));
        let answer = self.server(prometheus).post("query", &form, ANSWER_BYTES_MAX).await;
        match answer.and_then(|(status, body)| number(status, &body)) {
            Ok(value) => Reading::Value(value),
            Err(gap) => Reading::Gap(gap),
        }
    }

    /// What a query gives from one time to another, in steps: each series with its labels and its samples, oldest first.
    ///
    /// A step at which a series has no value has no sample. What is too long for one answer is asked for piece by piece,
    /// each with the server's own time-out; one piece that fails, or may be incomplete, is a gap for all of them.
    pub async fn range(
        &self,
        prometheus: &Prometheus,
        promql: &str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Vec<RangeSeries>, Gap> {
        let server = self.server(prometheus);
        let mut whole = range::Merged::default();
        for (start, end) in range::chunks(from, to, step) {
            let (start, end, step) = (start.to_string(), end.to_string(), step.as_secs_f64().to_string());
            let form = [("query", promql), ("start", &start), ("end", &end), ("step", &step)];
            let (status, body) = server.post("query_range", &form, range::ANSWER_BYTES_MAX).await?;
            whole.add(range::read(status, &body)?);
        }
        Ok(whole.into_series())
    }

    fn server<'a>(&'a self, prometheus: &'a Prometheus) -> Server<'a> {
        Server { http: &self.http, prometheus }
    }
}

#[cfg(test)]
mod tests;
