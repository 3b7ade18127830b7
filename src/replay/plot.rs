//! One rehearsal as a picture: each SLO's values, what they were before, the limits, and the moment of the verdict.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::rehearse::{Look, Rehearsal};
use crate::engine::facts::Reading;
use crate::engine::judge::Verdict;
use crate::engine::judge::slo::number;
use crate::engine::policy::{Objective, Part, Policy, Rule, Slo};
use crate::engine::samples::Labels;

const WIDTH: f64 = 900.0;
/// Height of the title above all panels, and of one panel with its own title and its times.
const HEAD: f64 = 56.0;
const PANEL: f64 = 220.0;
/// The plot within a panel.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 880.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 180.0;

/// Light by default; a reader who prefers dark gets that.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}
.title{font-size:15px;font-weight:600}.name{font-weight:600}.faint{fill:#59636e}.end{text-anchor:end}.middle{text-anchor:middle}
.paper{fill:#ffffff}.before{fill:#eef1f4}.frame{fill:none;stroke:#d1d9e0}
.series{fill:none;stroke:#0969da;stroke-width:1.6}.dot{fill:#0969da}
.baseline{stroke:#59636e;stroke-dasharray:2 4}.limit{stroke:#cf222e;stroke-dasharray:7 4}
.sync{stroke:#59636e}.verdict{stroke-width:2}.degraded{stroke:#cf222e}.healthy{stroke:#1a7f37}.inconclusive{stroke:#9a6700}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}.faint{fill:#9198a1}.paper{fill:#0d1117}.before{fill:#1b222b}.frame{stroke:#3d444d}
.series{stroke:#4493f8}.dot{fill:#4493f8}.baseline{stroke:#9198a1}.limit{stroke:#f85149}
.sync{stroke:#9198a1}.degraded{stroke:#f85149}.healthy{stroke:#3fb950}.inconclusive{stroke:#d29922}}
";

/// One SLO over time.
#[derive(Clone, Debug)]
pub struct Panel<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its limits, each with its words.
    pub limits: Vec<(f64, &'static str)>,
    /// What was read of each series, in the order of the times; none where there was no number.
    pub lines: Vec<Vec<(Timestamp, Option<f64>)>>,
}

/// What all panels of a picture share.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// The title.
    pub title: &'a str,
    /// One line below it.
    pub reason: &'a str,
    /// When the sync began.
    pub sync: Timestamp,
    /// When the verdict fell.
    pub decided_at: Timestamp,
    /// Its word: `healthy`, `degraded` or `inconclusive`.
    pub verdict: &'a str,
}

/// Draws a rehearsal, with what came after its verdict.
pub fn svg(policy: &Policy, rehearsal: &Rehearsal, after: &[Look]) -> String {
    let looks: Vec<&Look> = rehearsal.looks.iter().chain(after).collect();
    let panels: Vec<Panel<'_>> = policy
        .asked()
        .map(|slo| {
            let main = slo.main_part();
            let of_slo = looks.iter().filter(|look| look.answer.slo == slo.name && look.answer.part == main);
            Panel { name: &slo.name, limits: limits(slo), lines: lines(&of_slo.copied().collect::<Vec<_>>()) }
        })
        .collect();
    let picture = Picture {
        title: &title(policy, rehearsal),
        reason: &rehearsal.reason(),
        sync: rehearsal.at,
        decided_at: rehearsal.decided_at,
        verdict: word(&rehearsal.verdict),
    };
    draw(&picture, &panels)
}

/// What was read of each series; a time at which another one had a number is a gap.
fn lines(looks: &[&Look]) -> Vec<Vec<(Timestamp, Option<f64>)>> {
    let times: BTreeSet<Timestamp> = looks.iter().map(|look| look.answer.at).collect();
    let mut lines: BTreeMap<&Labels, BTreeMap<Timestamp, f64>> = BTreeMap::new();
    for look in looks {
        let line = lines.entry(&look.answer.series).or_default();
        if let Reading::Value(value) = look.answer.reading {
            line.insert(look.answer.at, value);
        }
    }
    let with_gaps =
        |line: &BTreeMap<Timestamp, f64>| times.iter().map(|at| (*at, line.get(at).copied())).collect();
    lines.values().map(with_gaps).collect()
}

/// Draws panels below each other.
pub fn draw(picture: &Picture<'_>, panels: &[Panel<'_>]) -> String {
    let of_panels = panels.iter().flat_map(|panel| panel.lines.iter().flatten()).map(|(at, _)| *at);
    let times = || of_panels.clone().chain([picture.sync, picture.decided_at]);
    let span = (times().min().unwrap_or(picture.sync), times().max().unwrap_or(picture.sync));
    let height = HEAD + PANEL * f64::from(u32::try_from(panels.len()).unwrap_or(u32::MAX));
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">{}</title>
<style>
{STYLE}</style>
<rect class="paper" width="{WIDTH}" height="{height}"/>
"#,
        escape(picture.title)
    );
    text(&mut out, (LEFT, 24.0), "title", picture.title);
    text(&mut out, (LEFT, 44.0), "faint", &cut(picture.reason));
    for (i, panel) in panels.iter().enumerate() {
        let top = HEAD + PANEL * f64::from(u32::try_from(i).unwrap_or(u32::MAX));
        out.push_str(&format!("<g transform=\"translate(0 {top})\">\n"));
        draw_panel(&mut out, panel, picture, span);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn title(policy: &Policy, rehearsal: &Rehearsal) -> String {
    let after = seconds(rehearsal.at, rehearsal.decided_at);
    format!(
        "{}: {} {} s after the sync of {}",
        policy.name,
        word(&rehearsal.verdict),
        number(after),
        rehearsal.at
    )
}

/// The verdict in one word.
pub fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Degraded(_) => "degraded",
        Verdict::Inconclusive(_) => "inconclusive",
    }
}

/// A line of text at the picture's width.
fn cut(sentence: &str) -> String {
    const CHARS_MAX: usize = 130;
    if sentence.chars().count() <= CHARS_MAX {
        return sentence.to_owned();
    }
    sentence.chars().take(CHARS_MAX - 1).chain(['…']).collect()
}

/// From one time to another.
#[allow(clippy::cast_precision_loss, reason = "a picture rounds")]
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.as_millisecond() - from.as_millisecond()) as f64 / 1000.0
}

fn limits(slo: &Slo) -> Vec<(f64, &'static str)> {
    let objective = match (&slo.rule, slo.main_part()) {
        (Rule::Threshold { objective, .. }, _) => objective,
        (Rule::BurnRate(rule), Part::Ratio(window)) => return vec![(rule.limit(window), "less than")],
        (Rule::Boolean { .. } | Rule::Comparison(_) | Rule::BurnRate(_), _) => return Vec::new(),
    };
    match *objective {
        Objective::Max(max) => vec![(max, "at most")],
        Objective::Min(min) => vec![(min, "at least")],
        Objective::Between { min, max } => vec![(max, "at most"), (min, "at least")],
    }
}

/// Maps a span of numbers to one of pixels.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    fn at(self, value: f64) -> f64 {
        let width = self.to - self.from;
        if width > 0.0 {
            self.start + (value - self.from) / width * (self.end - self.start)
        } else {
            f64::midpoint(self.start, self.end)
        }
    }
}

fn draw_panel(out: &mut String, panel: &Panel<'_>, picture: &Picture<'_>, span: (Timestamp, Timestamp)) {
    let Panel { name, limits, lines } = panel;
    let points = || lines.iter().flatten();
    let mut before: Vec<f64> =
        points().filter(|(at, _)| *at < picture.sync).filter_map(|(_, value)| *value).collect();
    before.sort_by(f64::total_cmp);
    let values = || points().filter_map(|(_, value)| *value).chain(limits.iter().map(|(limit, _)| *limit));
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // A ratio near zero is read from zero; an availability near one is not.
    let low = if low > 0.0 && low < high / 2.0 { 0.0 } else { low };
    let x = Scale { from: 0.0, to: seconds(span.0, span.1), start: LEFT, end: RIGHT };
    let y = Scale { from: low, to: low + (high - low) * 1.08, start: BOTTOM, end: TOP };
    let x_of = |at: Timestamp| x.at(seconds(span.0, at));

    let (sync, verdict) = (x_of(picture.sync), x_of(picture.decided_at));
    text(out, (LEFT, 20.0), "name", name);
    rect(out, "before", (LEFT, TOP), (sync - LEFT, BOTTOM - TOP));
    rect(out, "frame", (LEFT, TOP), (RIGHT - LEFT, BOTTOM - TOP));
    for tick in [low, f64::midpoint(low, high), high] {
        text(out, (LEFT - 6.0, y.at(tick) + 4.0), "faint end", &number(tick));
    }
    if let Some(median) = before.get(before.len() / 2) {
        line(out, "baseline", (LEFT, y.at(*median)), (RIGHT, y.at(*median)));
        text(out, (RIGHT - 4.0, y.at(*median) - 4.0), "faint end", &format!("before: {}", number(*median)));
    }
    for (limit, what) in limits {
        line(out, "limit", (LEFT, y.at(*limit)), (RIGHT, y.at(*limit)));
        text(out, (LEFT + 4.0, y.at(*limit) - 4.0), "faint", &format!("{what} {}", number(*limit)));
    }
    for line in lines {
        series(out, line.iter().map(|(at, value)| value.map(|value| (x_of(*at), y.at(value)))));
    }
    line(out, "sync", (sync, TOP), (sync, BOTTOM));
    line(out, &format!("verdict {}", picture.verdict), (verdict, TOP), (verdict, BOTTOM));
    let from_sync = |at: Timestamp| format!("{} s", number(seconds(picture.sync, at)));
    text(out, (LEFT, BOTTOM + 16.0), "faint", &from_sync(span.0));
    text(out, (sync, BOTTOM + 16.0), "faint middle", "sync");
    text(out, (RIGHT, BOTTOM + 16.0), "faint end", &from_sync(span.1));
    let told = format!("{} {}", picture.verdict, from_sync(picture.decided_at));
    text(out, (verdict, BOTTOM + 30.0), if verdict > RIGHT - 80.0 { "end" } else { "middle" }, &told);
}

/// A line through the values that breaks where there is none; one value alone is a dot.
fn series(out: &mut String, points: impl Iterator<Item = Option<(f64, f64)>>) {
    let mut run: Vec<(f64, f64)> = Vec::new();
    for point in points.chain([None]) {
        match point {
            Some(point) => run.push(point),
            None => {
                match run.as_slice() {
                    [] => {}
                    [(x, y)] => {
                        add(out, &format!(r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="2"/>"#));
                    }
                    points => {
                        let all: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                        add(out, &format!(r#"<polyline class="series" points="{}"/>"#, all.join(" ")));
                    }
                }
                run.clear();
            }
        }
    }
}

fn add(out: &mut String, element: &str) {
    out.push_str(element);
    out.push('\n');
}

fn line(out: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    add(out, &format!(r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#));
}

fn rect(out: &mut String, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
    let width = width.max(0.0);
    add(
        out,
        &format!(r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#),
    );
}

fn text(out: &mut String, (x, y): (f64, f64), class: &str, words: &str) {
    add(out, &format!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, escape(words)));
}

/// Text for XML; what XML cannot hold is left out.
fn escape(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
