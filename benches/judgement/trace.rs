//! A service's counters around a sync, scraped each 15 seconds, and what Prometheus computes from them.

use lastgood::engine::judge::stats::special::normal_tail;

/// Seconds from a scrape to the next.
pub const SCRAPE: i64 = 15;
/// Seconds before the sync that are generated, and that an analysis after it takes.
pub const BEFORE: i64 = 3600;
pub const AFTER: i64 = 900;
/// The look-back of the queries, in seconds.
pub const WINDOW: i64 = 60;

/// Prometheus's default buckets of a histogram, in seconds (client_golang, `DefBuckets`).
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];

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
    buckets: [f64; 12],
}

/// One analysis.
pub struct Trace {
    pub kind: Kind,
    /// By number of the scrape; what is missing was not scraped.
    scrapes: Vec<(i64, Scrape)>,
}

/// SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// Evenly on a logarithmic scale.
    fn scale(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let mut count = 0.0;
        let mut time = -self.share().ln();
        while time < mean {
            count += 1.0;
            time -= self.share().ln();
        }
        count
    }
}

impl Trace {
    /// Generates the analysis of this number; every other one is innocent.
    pub fn generate(number: u64) -> Self {
        let mut random = Random(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let r = &mut random;
        let kind = match (r.share() * 8.0) as u32 {
            0..=3 => Kind::Innocent,
            4 => Kind::Latency,
            5 => Kind::Errors,
            6 => Kind::Both,
            _ => Kind::Leak,
        };
        let rate = r.scale(0.1, 1000.0);
        let (day, swing) = (r.between(0.0, 86_400.0), r.between(0.0, 0.6));
        let (median, spread) = (r.scale(0.01, 0.3), r.between(0.3, 0.8));
        // How the median wanders: by so much, keeping so much from scrape to scrape.
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

        let mut level = r.normal();
        let mut sum = Scrape::default();
        let mut scrapes = Vec::new();
        for i in -BEFORE / SCRAPE - 8..=AFTER / SCRAPE {
            let t = (i * SCRAPE) as f64;
            level = keep * level + (1.0 - keep * keep).sqrt() * r.normal();
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
            let load = rate * (1.0 + swing * (std::f64::consts::TAU * (t + day) / 86_400.0).sin());
            let scale = median * times * (wander * level).exp();
            let mut below = 0.0;
            let mut cumulated = 0.0;
            for (bucket, bound) in BUCKETS.iter().enumerate() {
                // A log-normal bulk, and a Pareto tail of index 1.5 that begins at twice the median.
                let bulk = 1.0 - normal_tail((bound / scale).ln() / spread);
                let tail = 1.0 - (2.0 * scale / bound).min(1.0).powf(1.5);
                let share = (1.0 - heavy) * bulk + heavy * tail;
                cumulated += r.poisson(load * SCRAPE as f64 * (share - below).max(0.0));
                below = share;
                sum.buckets[bucket] += cumulated;
            }
            sum.requests += cumulated;
            sum.failed += r.poisson(cumulated * errors.min(1.0)).min(cumulated);
            if r.share() >= missing {
                scrapes.push((i * SCRAPE, sum));
            }
        }
        Self { kind, scrapes }
    }

    /// What `increase(counter[window])` gives at this second, as Prometheus's `extrapolatedRate` does (promql/functions.go); a
    /// ratio of two has the same factor, and so has each bucket.
    fn increase(&self, at: i64, window: i64) -> Option<(f64, [Scrape; 2])> {
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
        let (factor, [from, to]) = self.increase(at, WINDOW)?;
        Some(factor * (to.requests - from.requests))
    }

    /// The share of requests that failed; none where there were none, which is NaN in Prometheus.
    pub fn errors(&self, at: i64) -> Option<f64> {
        let (_, [from, to]) = self.increase(at, WINDOW)?;
        let requests = to.requests - from.requests;
        (requests > 0.0).then(|| (to.failed - from.failed) / requests)
    }

    /// `histogram_quantile(q, …)`: linear within its bucket, the last finite bound beyond.
    pub fn latency(&self, q: f64, at: i64) -> Option<f64> {
        let (_, [from, to]) = self.increase(at, WINDOW)?;
        let counts: Vec<f64> = to.buckets.iter().zip(from.buckets).map(|(to, from)| to - from).collect();
        let all = *counts.last()?;
        let rank = q * all;
        let place = counts.iter().position(|count| *count >= rank).filter(|_| all > 0.0)?;
        if place + 1 == BUCKETS.len() {
            return Some(BUCKETS[place - 1]);
        }
        let (low, below) = if place == 0 { (0.0, 0.0) } else { (BUCKETS[place - 1], counts[place - 1]) };
        Some(low + (BUCKETS[place] - low) * (rank - below) / (counts[place] - below))
    }
}
