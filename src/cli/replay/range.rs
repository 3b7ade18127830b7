//! Many rehearsals for people: how many verdicts of each kind, how sure that is, and which signal did it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use crate::engine::judge::Verdict;
use crate::engine::judge::stats::binomial::{Interval, clopper_pearson};
use crate::engine::judge::stats::real;
use crate::engine::policy::Policy;
use crate::engine::time::{elapsed, human};
use crate::replay::{Rehearsal, word};

/// Verdicts that are listed one by one.
const LISTED_MAX: usize = 50;

/// Prints the summary.
pub(super) fn print(
    policy: &Policy,
    told: &[Rehearsal],
    every: Option<Duration>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (Some(first), Some(last)) = (told.first(), told.last()) else { return Ok(()) };
    let n = told.len();
    writeln!(out, "Policy `{}`, {n} pretended syncs from {} to {}\n", policy.name, first.at, last.at)?;
    for kind in ["healthy", "degraded", "inconclusive"] {
        let count = told.iter().filter(|one| word(&one.verdict) == kind).count();
        writeln!(out, "  {kind:<12} {count:>6}  {:>9}", share(count, n))?;
    }
    let degraded = told.iter().filter(|one| matches!(one.verdict, Verdict::Degraded(_))).count();
    let (low, high) = interval(degraded, n);
    writeln!(
        out,
        "\nFalse alarms, if nothing was wrong in this time: {} of all analyses, 95 % interval {} to {}.",
        share(degraded, n),
        percent(low),
        percent(high)
    )?;
    if every.is_some_and(|every| every < policy.duration) {
        writeln!(out, "Analyses overlap, so they are not independent, and the true interval is wider.")?;
    }
    signals(told, out)?;
    let others = || told.iter().filter(|one| one.verdict != Verdict::Healthy);
    for (i, one) in others().enumerate() {
        if i == 0 {
            writeln!(out, "\nNot healthy")?;
        }
        if i == LISTED_MAX {
            writeln!(out, "  … and {} more; `--output json` has them all", others().count() - LISTED_MAX)?;
            break;
        }
        let took = human(elapsed(one.at, one.decided_at));
        writeln!(out, "  {}  {} after {took}: {}", one.at, word(&one.verdict), one.reason())?;
    }
    Ok(())
}

/// Which signal convicted how often.
fn signals(told: &[Rehearsal], out: &mut dyn Write) -> io::Result<()> {
    let mut convicted: BTreeMap<String, usize> = BTreeMap::new();
    for one in told {
        if let Verdict::Degraded(breaches) = &one.verdict {
            for breach in breaches {
                *convicted.entry(breach.signal.to_string()).or_default() += 1;
            }
        }
    }
    for (i, (signal, count)) in convicted.iter().enumerate() {
        if i == 0 {
            writeln!(out, "\nConvicted by")?;
        }
        writeln!(out, "  {signal}: {count}")?;
    }
    Ok(())
}

fn share(count: usize, of: usize) -> String {
    percent(real(count) / real(of.max(1)))
}

/// The exact interval for a share, at 95 %.
pub(in crate::cli) fn interval(count: usize, of: usize) -> (f64, f64) {
    let Interval { low, high } = clopper_pearson(real(count), real(of.max(1)), 0.95);
    (low, high)
}

pub(in crate::cli) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
