//! A service's counters around a sync, and what Prometheus computes from them.

use lastgood::engine::judge::stats::special::normal_tail;

use crate::family::{Family, Random, Shape};

/// Seconds from a query to the next.
pub const STEP: i64 = 15;
/// Seconds before the sync that are generated, and that an analysis after it takes.
pub const BEFORE: i64 = 3600;
pub const AFTER: i64 = 900;
/// What the sync did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing that lasts: there may be a blip of 30 to 90 seconds.
    Innocent,
    /// Requests take 1.2 to 10 times as long.
    Latency,
    /// 0.1 % to 50 % of requests fail on top.
    Errors,
    /// Both.
    Both,
    /// Requests take longer and longer.
    Leak,
}

/// The counters after one scrape.
#[derive(Clone, Copy, Default)]
struct Scrape {
    requests: f64,
    failed: f64,
    buckets: [f64; BUCKETS_MAX],
    gauge: f64,
}

/// The most buckets of a histogram.
const BUCKETS_MAX: usize = 12;

/// One analysis.
pub struct Trace {
    pub kind: Kind,
    /// The look-back of the queries, in seconds.
    pub window: i64,
    /// How much the regression adds to the 95th percentile in the end, as a share and in seconds.
    pub slower: (f64, f64),
    /// How much of the requests fail more, as a share of what was usual and of all.
    pub failing: (f64, f64),
    shape: Shape,
    /// By time; what is missing was not scraped.
    scrapes: Vec<(i64, Scrape)>,
}

impl Trace {
    /// Generates the analysis of this number; every other one is innocent.
    pub fn generate(family: Family, number: u64) -> Self {
        let mut random = Random(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let r = &mut random;
        let kind = match (r.share() * 8.0) as u32 {
            0..=3 => Kind::Innocent,
            4 => Kind::Latency,
            5 => Kind::Errors,
            6 => Kind::Both,
            _ => Kind::Leak,
        };
        let shape = Shape::of(family, r);
        let rate = r.scale(shape.rate.0, shape.rate.1);
        let (day, swing) = (r.between(0.0, 86_400.0), r.between(0.0, 0.6));
        let (median, spread) = (r.scale(0.01, 0.3), r.between(0.3, 0.8));
        // How the median wanders: by so much, keeping so much for 15 seconds.
        let (wander, keep) = (r.scale(0.02, 0.2), r.between(0.3, 0.95));
        let (heavy, usual_errors) = (r.between(0.0, 0.02), r.scale(0.000_01, 0.005));
        let slower = r.scale(1.2, 10.0);
        let more_errors = r.scale(0.001, 0.5);
        let blip = r.share() < 0.4;
        let (blip_lasts, blip_slower, blip_errors) = (
            r.between(30.0, 90.0),
            r.scale(1.5, 10.0),
            if r.share() < 0.3 { r.scale(0.001, 0.2) } else { 0.0 },
        );
        let missing = if r.share() < 0.3 { r.between(0.0, 0.1) } else { 0.0 };
        let keep = keep.powf(shape.scrape as f64 / 15.0);

        let mut level = r.normal();
        let mut sum = Scrape::default();
        let mut scrapes = Vec::new();
        for i in -(BEFORE + shape.window) / shape.scrape - 4..=AFTER / shape.scrape {
            let t = (i * shape.scrape) as f64;
            // Student's t is a normal value by the root of a mean of squares.
            let root = if shape.leaps {
                ((0..3).map(|_| r.normal().powi(2)).sum::<f64>() / 3.0).sqrt()
            } else {
                1.0
            };
            level = keep * level + (1.0 - keep * keep).sqrt() * r.normal() / root;
            let since = t.max(0.0);
            let (mut times, mut errors) = (1.0, usual_errors);
            if t > 0.0 {
                match kind {
                    Kind::Innocent => {}
                    Kind::Latency => times = slower,
                    Kind::Errors => errors += more_errors,
                    Kind::Both => (times, errors) = (slower, errors + more_errors),
                    Kind::Leak => times = 1.0 + (slower - 1.0) * since / AFTER as f64,
                }
                if blip && since <= blip_lasts {
                    times *= blip_slower;
                    errors += blip_errors;
                }
            }
            let (dragged, failed, busy) = shape.disturbs(t);
            let load = rate
                * busy
                * (1.0 + swing * (std::f64::consts::TAU * (t + day) / 86_400.0).sin())
                * shape.scrape as f64;
            let scale = median * times * dragged * (wander * level).exp();
            let errors = (errors + failed).min(1.0);
            let mut below = 0.0;
            let mut cumulated = 0.0;
            for (bucket, bound) in shape.buckets.iter().enumerate() {
                // A log-normal bulk, and a Pareto tail of index 1.5 that begins at twice the median.
                let bulk = 1.0 - normal_tail((bound / scale).ln() / spread);
                let tail = 1.0 - (2.0 * scale / bound).min(1.0).powf(1.5);
                let within = (1.0 - heavy) * bulk + heavy * tail;
                cumulated += r.poisson(load * (within - below).max(0.0));
                below = within;
                sum.buckets[bucket] += cumulated;
            }
            sum.requests += cumulated;
            sum.failed += r.poisson(cumulated * errors).min(cumulated);
            sum.gauge = r.poisson(100.0 * scale) / 100.0;
            if r.share() >= missing && !shape.is_silent(t) {
                scrapes.push((i * shape.scrape, sum));
            }
        }
        let slower = if matches!(kind, Kind::Innocent | Kind::Errors) { 0.0 } else { slower - 1.0 };
        let more = if matches!(kind, Kind::Errors | Kind::Both) { more_errors } else { 0.0 };
        let usual = if shape.gauge { median } else { median * (1.645 * spread).exp() };
        let (slower, failing) = ((slower, slower * usual), (more / usual_errors, more));
        Self { kind, window: shape.window, slower, failing, shape, scrapes }
    }

    /// What `increase(counter[window])` gives at this second, as Prometheus's `extrapolatedRate` does (promql/functions.go); a
    /// ratio of two has the same factor, and so has each bucket.
    fn increase(&self, at: i64) -> Option<(f64, [Scrape; 2])> {
        let window = self.window;
        let begin = self.scrapes.partition_point(|(t, _)| *t <= at - window);
        let end = self.scrapes.partition_point(|(t, _)| *t <= at);
        let inside = &self.scrapes[begin..end];
        let [(first, from), .., (last, to)] = inside else { return None };
        let sampled = (last - first) as f64;
        let average = sampled / (inside.len() - 1) as f64;
        let edge = |gap: i64| if (gap as f64) < 1.1 * average { gap as f64 } else { average / 2.0 };
        let covered = sampled + edge(first - (at - window)) + edge(at - last);
        Some((covered / sampled, [*from, *to]))
    }

    /// Requests within the window.
    pub fn requests(&self, at: i64) -> Option<f64> {
        let (factor, [from, to]) = self.increase(at)?;
        Some(factor * (to.requests - from.requests))
    }

    /// The share of requests that failed; none where there were none, which is NaN in Prometheus.
    pub fn errors(&self, at: i64) -> Option<f64> {
        let (_, [from, to]) = self.increase(at)?;
        let requests = to.requests - from.requests;
        (requests > 0.0).then(|| (to.failed - from.failed) / requests)
    }

    /// `histogram_quantile(q, …)`: linear within its bucket, the last finite bound beyond; or a gauge as it is.
    pub fn latency(&self, q: f64, at: i64) -> Option<f64> {
        let buckets = self.shape.buckets;
        if self.shape.gauge {
            // Prometheus's staleness: a sample counts for five minutes.
            let (t, newest) = self.scrapes[..self.scrapes.partition_point(|(t, _)| *t <= at)].last()?;
            return (at - t < 300).then_some(newest.gauge);
        }
        let (_, [from, to]) = self.increase(at)?;
        let counts: Vec<f64> =
            to.buckets.iter().zip(from.buckets).map(|(to, from)| to - from).take(buckets.len()).collect();
        let all = *counts.last()?;
        let rank = q * all;
        let place = counts.iter().position(|count| *count >= rank).filter(|_| all > 0.0)?;
        if place + 1 == buckets.len() {
            return Some(buckets[place - 1]);
        }
        let (low, below) = if place == 0 { (0.0, 0.0) } else { (buckets[place - 1], counts[place - 1]) };
        Some(low + (buckets[place] - low) * (rank - below) / (counts[place] - below))
    }
}
