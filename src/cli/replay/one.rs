//! One rehearsal for people: what was before, a line for each time since, and the verdict in its place.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;

use crate::engine::facts::Reading;
use crate::engine::judge::Outcome;
use crate::engine::judge::slo::{alone, number, wanted};
use crate::engine::policy::{Part, Policy, Slo};
use crate::engine::time::{elapsed, human};
use crate::replay::{Look, Rehearsal, word};

/// Values of one SLO and one time that are shown.
const CELLS_MAX: usize = 4;

/// Prints the timeline.
pub(super) fn print(
    policy: &Policy,
    told: &Rehearsal,
    after: &[Look],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "Policy `{}`, a pretended sync at {}", policy.name, told.at)?;
    writeln!(out, "\nBefore the sync")?;
    let width = policy.asked().map(|slo| slo.name.chars().count()).max().unwrap_or_default();
    for slo in &policy.slos {
        writeln!(out, "  {:<width$}  {}", slo.name, before(told, slo))?;
    }
    writeln!(out, "\nSince the sync (`!` fails)")?;
    let columns: Vec<String> =
        policy.asked().map(|slo| format!("{} ({})", slo.name, wanted(&slo.rule))).collect();
    writeln!(out, "  {:>8}  {}", "", columns.join("  "))?;
    let mut rows: BTreeMap<Timestamp, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for look in told.looks.iter().filter(|look| !look.before).chain(after) {
        let Some(slo) = policy.asked().find(|slo| slo.name == look.answer.slo) else { continue };
        rows.entry(look.answer.at).or_default().entry(&slo.name).or_default().push(cell(slo, look));
    }
    let mut decided = false;
    for (at, cells) in &rows {
        if *at > told.decided_at && !decided {
            verdict(told, out)?;
            decided = true;
        }
        let mut line = format!("  {:>8}", human(elapsed(told.at, *at)));
        for (slo, column) in policy.asked().zip(&columns) {
            let cell = cells.get(slo.name.as_str()).map(|cells| shortened(cells)).unwrap_or_default();
            line += &format!("  {cell:<0$}", column.chars().count());
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    if decided { Ok(()) } else { verdict(told, out) }
}

/// Several values of one time, of several series or windows.
fn shortened(cells: &[String]) -> String {
    let shown = cells.get(..cells.len().min(CELLS_MAX)).unwrap_or_default().join(", ");
    if cells.len() > CELLS_MAX { format!("{shown}, …") } else { shown }
}

fn verdict(told: &Rehearsal, out: &mut dyn Write) -> io::Result<()> {
    let took = human(elapsed(told.at, told.decided_at));
    writeln!(out, "  {took:>8}  => {} at {}: {}", word(&told.verdict), told.decided_at, told.reason())
}

fn cell(slo: &Slo, look: &Look) -> String {
    match &look.answer.reading {
        Reading::Value(value) => {
            let fails = alone(slo, look.answer.part, &look.answer.reading) == Outcome::Fail;
            let unit = if matches!(look.answer.part, Part::Events(_)) { " events" } else { "" };
            format!("{}{unit}{}", number(*value), if fails { " !" } else { "" })
        }
        Reading::Gap(gap) => gap.to_string().split(':').next().unwrap_or_default().to_owned(),
    }
}

/// The values of the time before in one line.
fn before(told: &Rehearsal, slo: &Slo) -> String {
    let main = slo.main_part();
    let of_slo = |look: &&Look| look.answer.slo == slo.name && look.answer.part == main;
    let looks = || told.looks.iter().filter(|look| look.before).filter(of_slo);
    let mut values: Vec<f64> = looks()
        .filter_map(|look| match look.answer.reading {
            Reading::Value(value) => Some(value),
            Reading::Gap(_) => None,
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let missing = looks().count() - values.len();
    let missing = if missing > 0 { format!("; {missing} without a value") } else { String::new() };
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(low), Some(median), Some(high)) => {
            let n = values.len();
            let (low, median, high) = (number(*low), number(*median), number(*high));
            format!("{n} values, {low} to {high}, median {median}{missing}")
        }
        _ => format!("no values{missing}"),
    }
}
