//! Many rehearsals for people: how many verdicts of each kind, how sure that is, and which signal did it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use crate::engine::judge::Verdict;
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

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn share(count: usize, of: usize) -> String {
    percent(count as f64 / of.max(1) as f64)
}

/// Wilson's interval for a share, at 95 %.
#[allow(clippy::cast_precision_loss, reason = "for people")]
fn interval(count: usize, of: usize) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    let n = of.max(1) as f64;
    let p = count as f64 / n;
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
