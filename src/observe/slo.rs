//! Sends SLO queries to Prometheus and reads numbers, or why there are none, out of its answers.

mod answer;
mod credentials;
mod range;
mod server;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;

pub use self::answer::OfSeries;
use self::answer::readings;
pub use self::range::{Labels, RangeSeries};
use self::server::{Request, Servers};
use self::sharing::Sharing;
use crate::credentials::Secrets;
use crate::engine::action::{MeasureOrder, When};
use crate::engine::event::SloAnswer;
use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::{Prometheus, Series};

/// Queries that one order has on their way at the same time: a Prometheus runs twenty at most, for everybody.
const CONCURRENT_MAX: usize = 4;

/// Bytes of an answer for one time that are read. It takes two hundred a series; a query that forgot to aggregate takes megabytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Sends queries to Prometheus servers, keeps the connections, and sends once what several ask at the same time.
pub struct Slos {
    servers: Arc<Servers>,
    sharing: Arc<Sharing>,
}

impl Slos {
    /// Reads credentials from folders only; fails only if the system's certificates cannot be used.
    pub fn new() -> Result<Self, reqwest::Error> {
        Self::made(None)
    }

    /// Reads credentials from Secrets of this namespace too.
    pub fn with_secrets(client: kube::Client, namespace: impl Into<String>) -> Result<Self, reqwest::Error> {
        Self::made(Some(Secrets { client, namespace: namespace.into() }))
    }

    fn made(secrets: Option<Secrets>) -> Result<Self, reqwest::Error> {
        Ok(Self { servers: Arc::new(Servers::new(secrets)?), sharing: Arc::default() })
    }

    /// Sends all queries of an order and gives an answer for each of them at each of its times, or one for each of its series.
    ///
    /// The answers come query by query, in the order's order, oldest first. What another order asked too, not longer ago
    /// than a quarter of the interval, is not sent again: each answer says when it was asked for.
    pub async fn measure(
        &self,
        order: &MeasureOrder,
        prometheus: &Prometheus,
        now: Timestamp,
        interval: Duration,
    ) -> Vec<SloAnswer> {
        let fresh = interval / 4;
        let asked = order.queries.iter().map(|query| async move {
            let (promql, wanted) = (&query.promql, query.series);
            let answer =
                |at| move |(series, reading): OfSeries| SloAnswer::of_series(query, series, at, reading);
            match order.when {
                When::Now => {
                    let (at, found) = self.instant(prometheus, promql, wanted, None, fresh, now).await;
                    found.into_iter().map(answer(at)).collect::<Vec<_>>()
                }
                When::Range { from, to, step } => {
                    let series = self.pieces(prometheus, promql, (from, to, step), fresh).await;
                    let found = range::readings(&series, &order.when.times(now), step, wanted);
                    found.into_iter().map(|(at, one)| answer(at)(one)).collect()
                }
            }
        });
        let answers: Vec<_> =
            stream::iter(asked.collect::<Vec<_>>()).buffered(CONCURRENT_MAX).collect().await;
        answers.into_iter().flatten().collect()
    }

    /// Sends one query, evaluated at a time, or by the server's own clock when none is given.
    ///
    /// Never empty, and one reading without labels where one number is wanted, or nothing is known of any series.
    pub async fn query(
        &self,
        prometheus: &Prometheus,
        promql: &str,
        wanted: Series,
        at: Option<Timestamp>,
    ) -> Vec<OfSeries> {
        self.instant(prometheus, promql, wanted, at, Duration::ZERO, Timestamp::UNIX_EPOCH).await.1
    }

    async fn instant(
        &self,
        prometheus: &Prometheus,
        promql: &str,
        wanted: Series,
        at: Option<Timestamp>,
        fresh: Duration,
        now: Timestamp,
    ) -> (Timestamp, Vec<OfSeries>) {
        let mut form = vec![("query", promql.to_owned())];
        form.extend(at.map(|at| ("time", at.to_string())));
        let prometheus = prometheus.clone();
        let request = Request { prometheus, method: "query", form, bytes_max: ANSWER_BYTES_MAX };
        let (asked_at, answer) = self.sharing.send(&self.servers, request, fresh, now).await;
        let found = answer.and_then(|(status, body)| readings(status, &body, wanted));
        (asked_at, found.unwrap_or_else(|gap| vec![(Labels::new(), Reading::Gap(gap))]))
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
        self.pieces(prometheus, promql, (from, to, step), Duration::ZERO).await
    }

    async fn pieces(
        &self,
        prometheus: &Prometheus,
        promql: &str,
        (from, to, step): (Timestamp, Timestamp, Duration),
        fresh: Duration,
    ) -> Result<Vec<RangeSeries>, Gap> {
        let mut whole = range::Merged::default();
        for (start, end) in range::chunks(from, to, step) {
            let form = vec![
                ("query", promql.to_owned()),
                ("start", start.to_string()),
                ("end", end.to_string()),
                ("step", step.as_secs_f64().to_string()),
            ];
            let prometheus = prometheus.clone();
            let bytes_max = range::ANSWER_BYTES_MAX;
            let request = Request { prometheus, method: "query_range", form, bytes_max };
            let (_, answer) = self.sharing.send(&self.servers, request, fresh, to).await;
            let (status, body) = answer?;
            whole.add(range::read(status, &body)?);
        }
        Ok(whole.into_series())
    }
}

#[cfg(test)]
mod reaching;
#[cfg(test)]
mod tests;
