//! Services of other kinds than the usual one: what is unlike it, a family each.

use crate::trace::{AFTER, BEFORE};

/// Prometheus's default buckets of a histogram, in seconds (client_golang, `DefBuckets`).
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];
/// Few, so that a quantile stays where it is or leaps.
const COARSE: [f64; 5] = [0.1, 0.3, 1.2, 5.0, f64::INFINITY];

/// What is unlike the usual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Usual,
    /// Four buckets, as Istio's older dashboards and many client libraries have.
    Coarse,
    /// Scrapes each 30 or 60 seconds, and queries over 2 to 5 minutes.
    Sparse,
    /// Nothing is scraped for a while around the sync, and on other days.
    Silent,
    /// It gets slower, or faster, by up to a half in an hour, sync or not.
    Drift,
    /// It is slow, and fails, for ten seconds to ten minutes, some times an hour, sync or not.
    Bursts,
    /// Its median wanders by leaps: as Student's t with three degrees of freedom.
    Heavy,
    /// A job sends requests each 5 to 20 minutes, and the service is slower while it does.
    Jobs,
    /// A request each 10 to 200 seconds.
    Quiet,
    /// A gauge of whole numbers instead of a latency, mostly small: a queue.
    Queue,
}

pub const FAMILIES: [(&str, Family); 10] = [
    ("usual", Family::Usual),
    ("coarse", Family::Coarse),
    ("sparse", Family::Sparse),
    ("silent", Family::Silent),
    ("drift", Family::Drift),
    ("bursts", Family::Bursts),
    ("heavy", Family::Heavy),
    ("jobs", Family::Jobs),
    ("quiet", Family::Quiet),
    ("queue", Family::Queue),
];

/// A time in which it is slower, fails more, and has more to do.
struct Burst {
    from: f64,
    to: f64,
    slower: f64,
    failing: f64,
    busy: f64,
}

/// What one service of a family is like.
pub struct Shape {
    /// Seconds from a scrape to the next.
    pub scrape: i64,
    pub window: i64,
    pub buckets: &'static [f64],
    /// Requests a second: the least and the most.
    pub rate: (f64, f64),
    pub gauge: bool,
    /// Whether it wanders by leaps.
    pub leaps: bool,
    /// How much slower it gets in an hour, as a logarithm.
    drift: f64,
    bursts: Vec<Burst>,
    /// When nothing is scraped.
    silent: Vec<(f64, f64)>,
}

impl Shape {
    pub fn of(family: Family, r: &mut Random) -> Self {
        let mut shape = Self {
            scrape: 15,
            window: 60,
            buckets: &BUCKETS,
            rate: (0.1, 1000.0),
            gauge: false,
            leaps: false,
            drift: 0.0,
            bursts: Vec::new(),
            silent: Vec::new(),
        };
        let (begin, end) = (-(BEFORE as f64) - 900.0, AFTER as f64);
        match family {
            Family::Usual => {}
            Family::Coarse => shape.buckets = &COARSE,
            Family::Sparse if r.share() < 0.5 => (shape.scrape, shape.window) = (30, 120),
            Family::Sparse => (shape.scrape, shape.window) = (60, 300),
            Family::Silent => {
                let from = r.between(-60.0, 60.0);
                shape.silent.push((from, from + r.between(30.0, 300.0)));
                let from = r.between(begin, 0.0);
                shape.silent.push((from, from + r.between(30.0, 1800.0)));
            }
            Family::Drift => shape.drift = r.between(-0.5, 0.5),
            Family::Bursts => {
                let every = r.scale(600.0, 7200.0);
                let mut from = begin;
                loop {
                    from -= every * r.share().ln();
                    if from > end {
                        break;
                    }
                    let to = from + r.scale(10.0, 600.0);
                    let failing = if r.share() < 0.3 { r.scale(0.001, 0.1) } else { 0.0 };
                    shape.bursts.push(Burst { from, to, slower: r.scale(1.2, 4.0), failing, busy: 1.0 });
                }
            }
            Family::Jobs => {
                let (every, lasts) = (r.between(300.0, 1200.0), r.between(20.0, 120.0));
                let (slower, busy) = (r.scale(1.2, 4.0), r.scale(1.5, 10.0));
                let mut from = begin + every * r.share();
                while from < end {
                    shape.bursts.push(Burst { from, to: from + lasts, slower, failing: 0.0, busy });
                    from += every;
                }
            }
            Family::Heavy => shape.leaps = true,
            Family::Quiet => shape.rate = (0.005, 0.1),
            Family::Queue => shape.gauge = true,
        }
        shape
    }

    /// How many times slower it is at a time, how much more fails, and how many times more it has to do.
    pub fn disturbs(&self, t: f64) -> (f64, f64, f64) {
        let drifted = (self.drift * t / 3600.0).exp();
        self.bursts.iter().filter(|burst| burst.from <= t && t < burst.to).fold(
            (drifted, 0.0, 1.0),
            |(slower, failing, busy), burst| {
                (slower * burst.slower, failing + burst.failing, busy * burst.busy)
            },
        )
    }

    pub fn is_silent(&self, t: f64) -> bool {
        self.silent.iter().any(|(from, to)| (*from..*to).contains(&t))
    }
}

/// SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, OOPSLA 2014).
pub struct Random(pub u64);

impl Random {
    pub fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// Evenly on a logarithmic scale.
    pub fn scale(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    pub fn poisson(&mut self, mean: f64) -> f64 {
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
