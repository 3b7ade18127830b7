//! What a record was decided from: its signals, with their values as a picture.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::compact;
use super::html::{Cell, picture, table};
use crate::audit::placed::Placed;
use crate::replay::{Panel, Picture, draw};

/// The evidence of a record; nothing if it has none.
pub(super) fn html(placed: &Placed) -> String {
    let Some(evidence) = &placed.record.evidence else { return String::new() };
    let signals = evidence.get("signals").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut out = String::new();
    if !signals.is_empty() {
        let row = |signal: &Value| {
            let text = |pointer: &str| signal.pointer(pointer).map(compact).unwrap_or_default();
            vec![
                Cell::text(name(signal)),
                Cell::text(text("/breach/why")),
                Cell::code(text("/query")),
                Cell::code(text("/rule")),
            ]
        };
        out += &format!("<h4>What {} was decided from</h4>\n", super::escape(&placed.record.reason));
        out += &table(&["signal", "why it convicts", "query", "rule"], signals.iter().map(row));
        out += &plot(placed, signals).unwrap_or_default();
    }
    let syncs =
        ["sync", "revertSync"].into_iter().filter_map(|key| evidence.get(key).map(|sync| (key, sync)));
    let row = |(key, sync): (&str, &Value)| {
        let text = |key: &str| sync.get(key).map(compact).unwrap_or_default();
        vec![
            Cell::text(if key == "sync" { "of the bad revision" } else { "of the revert" }),
            Cell::code(text("revisions")),
            Cell::text(text("historyId")),
            Cell::text(text("startedAt")),
            Cell::text(text("finishedAt")),
            Cell::text(text("initiatedBy")),
        ]
    };
    let mut syncs = syncs.peekable();
    if !signals.is_empty() && syncs.peek().is_some() {
        let columns = ["operation of Argo CD", "revisions", "history id", "began", "ended", "by"];
        out += &table(&columns, syncs.map(row));
    }
    out
}

fn name(signal: &Value) -> String {
    let signal = signal.get("signal");
    let slo = signal.and_then(|signal| signal.get("slo")).and_then(Value::as_str);
    slo.map(str::to_owned).or_else(|| signal.map(compact)).unwrap_or_default()
}

/// The values of the signals that have some.
fn plot(placed: &Placed, signals: &[Value]) -> Option<String> {
    let evidence = placed.record.evidence.as_ref()?;
    let sync = evidence.pointer("/sync/startedAt").and_then(Value::as_str);
    let sync: Timestamp = sync.and_then(|at| at.parse().ok()).unwrap_or(placed.record.at);
    let names: Vec<String> = signals.iter().map(name).collect();
    let panels: Vec<Panel<'_>> = signals
        .iter()
        .zip(&names)
        .map(|(signal, name)| Panel { name, limits: limits(signal), lines: lines(signal) })
        .filter(|panel| panel.lines.iter().flatten().any(|(_, value)| value.is_some()))
        .collect();
    if panels.is_empty() {
        return None;
    }
    let told = Picture {
        title: &format!("{} {}", placed.application(), placed.record.reason),
        reason: &placed.record.sentence,
        sync,
        decided_at: placed.record.at,
        verdict: "degraded",
    };
    Some(picture(&draw(&told, &panels), "the values of the signals over time"))
}

fn limits(signal: &Value) -> Vec<(f64, &'static str)> {
    let objective = signal.pointer("/rule/threshold/objective");
    let number = |pointer: &str| objective.and_then(|o| o.pointer(pointer)).and_then(Value::as_f64);
    let all = [
        (number("/max"), "at most"),
        (number("/min"), "at least"),
        (number("/between/max"), "at most"),
        (number("/between/min"), "at least"),
    ];
    all.into_iter().filter_map(|(limit, words)| Some((limit?, words))).collect()
}

/// The values of each series, before the sync and since.
fn lines(signal: &Value) -> Vec<Vec<(Timestamp, Option<f64>)>> {
    let point = |sample: &Value| {
        let at = sample.get(0)?.as_i64().and_then(|at| Timestamp::from_millisecond(at).ok())?;
        Some((at, sample.get(1).and_then(Value::as_f64)))
    };
    let both = || ["before", "after"].iter().filter_map(|key| signal.get(key)?.as_array()).flatten();
    // A burn rate has several numbers for each time: the share of failures over the shortest window comes first.
    let part = both().next().and_then(|line| line.get("part"));
    let mut lines: BTreeMap<String, Vec<(Timestamp, Option<f64>)>> = BTreeMap::new();
    for line in both().filter(|line| line.get("part") == part) {
        let labels = line.get("series").map(Value::to_string).unwrap_or_default();
        let samples = line.get("samples").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        lines.entry(labels).or_default().extend(samples.iter().filter_map(point));
    }
    for line in lines.values_mut() {
        line.sort_by_key(|(at, _)| *at);
    }
    lines.into_values().collect()
}
