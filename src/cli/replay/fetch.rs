//! Fetches history from Prometheus: each query once over the whole span, in pieces, a few at a time.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, stream};
use jiff::Timestamp;

use super::what::ARGOCD;
use crate::cluster::Clients;
use crate::engine::action::{MeasureOrder, Round, SloQuery, When};
use crate::engine::event::SloAnswer;
use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::{CredentialsAt, Policy, Prometheus};
use crate::observe::slo::Slos;
use crate::replay::{Recorded, Stretch};

/// Values of one range query: Prometheus refuses more than 11,000.
const PIECE: u32 = 11_000;

/// Below this a query that fails is not cut further: it would fail anyway.
const PIECE_MIN: usize = 500;

/// Queries on their way at once; a Prometheus runs twenty, for everybody.
const CONCURRENT_MAX: usize = 4;

/// Fetches all stretches.
///
/// # Errors
/// When the server cannot be reached or refuses: nothing is replayed on half of the data.
pub(in crate::cli) async fn fetch(
    policy: &Policy,
    needs: Vec<Stretch>,
    timeout: Duration,
) -> anyhow::Result<Recorded> {
    let prometheus =
        policy.prometheus.clone().context("the policy names no Prometheus: give --prometheus")?;
    let prometheus = Prometheus { timeout, ..prometheus };
    let slos = match &prometheus.credentials {
        Some(CredentialsAt::Secret(name)) => {
            let clients = Clients::infer().await;
            let clients = clients.with_context(|| format!("the credentials are in the Secret `{name}`"))?;
            Slos::with_secrets(clients.request, ARGOCD)
        }
        Some(CredentialsAt::Folder(_)) | None => Slos::new(),
    };
    let slos = slos.context("cannot make the HTTP client for Prometheus")?;
    let pieces: Vec<Stretch> = needs.iter().flat_map(|stretch| stretch.pieces(PIECE)).collect();
    let mut progress = Progress::new(pieces.len());
    let mut recorded = Recorded::default();
    let asked = pieces.iter().map(|piece| whole(&slos, &prometheus, piece));
    let mut answered = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_MAX);
    while let Some(parts) = answered.next().await {
        for (part, answers) in parts? {
            recorded.add(&part, answers);
        }
        progress.step();
    }
    Ok(recorded)
}

/// Asks for one piece; what is too much for the server is asked for in halves.
async fn whole(
    slos: &Slos,
    prometheus: &Prometheus,
    piece: &Stretch,
) -> anyhow::Result<Vec<(Stretch, Vec<SloAnswer>)>> {
    let (mut todo, mut done) = (vec![piece.clone()], Vec::new());
    while let Some(part) = todo.pop() {
        let answers = ask(slos, prometheus, &part).await;
        match answers.iter().find_map(failure) {
            None => done.push((part, answers)),
            Some(gap) => {
                let too_much = matches!(gap, Gap::TimedOut | Gap::ServerError(_));
                let half = u32::try_from(answers.len() / 2).unwrap_or(u32::MAX);
                if !too_much || answers.len() < PIECE_MIN {
                    let (url, query) = (&prometheus.url, &part.query.promql);
                    bail!(
                        "Prometheus at {url} gives no history: {gap}\n  query: {query}\n  from {} to {}",
                        part.from,
                        part.to
                    );
                }
                todo.extend(part.pieces(half));
            }
        }
    }
    Ok(done)
}

async fn ask(slos: &Slos, prometheus: &Prometheus, part: &Stretch) -> Vec<SloAnswer> {
    // The answers of a replay are many, and a name each would be most of their size.
    let query = SloQuery { slo: String::new(), ..part.query.clone() };
    let round = Round { began_at: part.from, number: 0 };
    let when = When::Range { from: part.from, to: part.to, step: part.step };
    let order = MeasureOrder { round, when, queries: vec![query] };
    // Nobody else asks.
    slos.measure(&order, prometheus, Timestamp::now(), Duration::ZERO).await
}

/// Why an answer is none that the daemon could have had on a quiet day.
fn failure(answer: &SloAnswer) -> Option<Gap> {
    match &answer.reading {
        Reading::Gap(
            gap @ (Gap::TimedOut
            | Gap::Unreachable(_)
            | Gap::ServerError(_)
            | Gap::Credentials(_)
            | Gap::QueryRefused(_)),
        ) => Some(gap.clone()),
        Reading::Value(_) | Reading::Gap(_) => None,
    }
}

/// A bar on standard error, where somebody looks at it.
struct Progress {
    all: usize,
    done: usize,
    shown: bool,
}

impl Progress {
    fn new(all: usize) -> Self {
        let mut progress = Self { all, done: 0, shown: io::stderr().is_terminal() };
        progress.show();
        progress
    }

    fn step(&mut self) {
        self.done += 1;
        self.show();
    }

    fn show(&mut self) {
        const WIDTH: usize = 40;
        if self.shown {
            let filled = self.done * WIDTH / self.all.max(1);
            let (full, empty) = ("#".repeat(filled), " ".repeat(WIDTH - filled.min(WIDTH)));
            let mut stderr = io::stderr();
            // Without a terminal there is nobody to tell.
            self.shown = write!(stderr, "\r[{full}{empty}] {} of {} queries", self.done, self.all).is_ok();
            stderr.flush().ok();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // Takes the bar away.
            write!(io::stderr(), "\r{:70}\r", "").ok();
        }
    }
}
