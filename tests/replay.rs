//! `lastgood replay` as a person or a pipeline calls it, against a Prometheus with a history.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test may fail"
)]

#[path = "support/backfilled.rs"]
mod backfilled;
#[path = "support/history.rs"]
mod history;
#[path = "support/real_history.rs"]
mod real_history;

use std::path::Path;
use std::process::Command;

use history::{History, serve};
use serde_json::Value;

/// 2026-11-20T10:00:00Z.
const TEN: i64 = 1_795_168_800;

/// Errors from ten o'clock on for ten minutes, and latency that is always well.
fn a_bad_change(query: &str, at: f64) -> Option<f64> {
    let bad = (TEN as f64 + 1.0..TEN as f64 + 600.0).contains(&at);
    match query {
        r#"errors{app="shop"}"# => Some(if bad { 0.3 } else { 0.01 }),
        r#"latency{app="shop"}"# => Some(0.2),
        _ => None,
    }
}

/// One of fifty fails from five minutes past ten on; ten requests a second.
fn burning(query: &str, at: f64) -> Option<f64> {
    match query {
        r#"avg_over_time(x{app="shop"}[60s])"# => Some(if at > TEN as f64 + 300.0 { 0.02 } else { 0.0002 }),
        r#"sum_over_time(x{app="shop"}[60s])"# => Some(600.0),
        _ => None,
    }
}

struct Stage {
    dir: tempfile::TempDir,
    history: History,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { dir: tempfile::tempdir().unwrap(), history: serve(a_bad_change) };
        stage.policy(&format!(
            r#"apiVersion: lastgood.dev/v1alpha1
application: {{ name: shop }}
analysis: {{ duration: 5m, interval: 15s }}
prometheus: {{ url: "{}" }}
slos:
  - {{ name: errors, query: 'errors{{app="{{{{ application }}}}"}}', max: 0.05 }}
  - {{ name: latency, query: 'latency{{app="{{{{ application }}}}"}}', max: 0.5 }}
rollback: {{ mode: dry-run }}
"#,
            stage.history.url
        ));
        stage
    }

    fn policy(&self, text: &str) {
        std::fs::write(self.file("shop.yaml"), text).unwrap();
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Exit code, standard output and standard error.
    fn replay(&self, args: &[&str]) -> (i32, String, String) {
        command(self.dir.path(), &[&["replay", "--policy", "shop.yaml"], args].concat())
    }
}

/// Runs the program; its exit code, standard output and standard error.
fn command(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastgood"));
    let output = command.args(args).current_dir(dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn one_sync_is_told_as_one_json_object() {
    let stage = Stage::new();
    for at in ["2026-11-20T10:00:00Z", "1795168800", "2026-11-20T11:00:00+01:00"] {
        let (code, out, err) = stage.replay(&["--at", at, "--output", "json"]);
        assert_eq!((code, out.lines().count(), err.as_str()), (0, 1, ""), "{out}");
        assert!(out.starts_with(r#"{"at":"2026-11-20T10:00:00Z","verdict":"degraded","decidedAt":"2026-11-20T10:00:45Z","reason":"#), "{out}");
        let told = json(&out);
        assert_eq!(
            told["reason"],
            "slo `errors`: 3 of the latest 3 measurements failed, newest 0.3 (at most 0.05)"
        );
        let convicts =
            |i: usize| (told["signals"][i]["name"].clone(), told["signals"][i]["convicts"].clone());
        assert_eq!(
            (convicts(0), convicts(1)),
            (("errors".into(), true.into()), ("latency".into(), false.into()))
        );
    }
}

#[test]
fn what_is_not_over_yet_is_not_final() {
    let stage = Stage::new();
    let finals = |args: &[&str]| {
        let (code, out, err) = stage.replay(&[args, &["--output", "json"]].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        out.lines().map(|line| json(line)["final"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(finals(&["--at", "2026-11-20T10:00:00Z"]), [true]);
    let future = ["--from", "2100-01-01T00:00:00Z", "--to", "2100-01-01T01:00:00Z", "--every", "1h"];
    assert_eq!(finals(&future), [false, false]);
    let (_, _, err) = stage.replay(&future);
    assert!(err.contains("2 of 2 analyses are not over"), "{err}");
}

#[test]
fn one_sync_is_told_to_people_with_what_came_after() {
    let stage = Stage::new();
    let (code, out, err) = stage.replay(&["--at", "2026-11-20T10:00:00Z"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    let verdict = lines.iter().position(|line| line.contains("=> degraded")).unwrap();
    assert!(lines[verdict].contains("45s") && lines[verdict - 1].contains("0.3 !"), "{out}");
    assert!(lines.last().unwrap().trim().starts_with("5m"), "{out}");
    let (_, until, _) = stage.replay(&["--at", "2026-11-20T10:00:00Z", "--until-verdict"]);
    assert!(until.lines().last().unwrap().contains("=> degraded"), "{until}");
}

#[test]
fn a_burn_rate_asks_for_its_short_window_and_for_the_events_beside_it() {
    let stage = Stage { dir: tempfile::tempdir().unwrap(), history: serve(burning) };
    stage.policy(&format!(
        r#"apiVersion: lastgood.dev/v1alpha1
application: {{ name: shop }}
analysis: {{ duration: 10m }}
prometheus: {{ url: "{}" }}
slos:
  - name: errors
    query: avg_over_time(x{{app="{{{{ application }}}}"}}[{{{{ window }}}}])
    burnRate:
      objective: 99.9%
      events: sum_over_time(x{{app="{{{{ application }}}}"}}[{{{{ window }}}}])
rollback: {{ mode: dry-run }}
"#,
        stage.history.url
    ));
    let (code, out, err) =
        stage.replay(&["--at", "2026-11-20T10:00:00Z", "--output", "json", "--plot", "p.svg"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let told = json(&out);
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.starts_with("slo `errors`: uses its error budget up "), "{out}");
    assert_eq!(
        (told["signals"][0]["newest"].as_f64(), told["verdict"].as_str()),
        (Some(0.02), Some("degraded"))
    );
    let mut asked = stage.history.asked.lock().unwrap().clone();
    asked.sort();
    assert_eq!(
        asked,
        [
            r#"query_range avg_over_time(x{app="shop"}[60s])"#,
            r#"query_range sum_over_time(x{app="shop"}[60s])"#
        ]
    );
    let plot = std::fs::read_to_string(stage.file("p.svg")).unwrap();
    assert!(plot.contains("less than 0.0144") && !plot.contains(">600<"), "{plot}");
    let (_, text, _) = stage.replay(&["--at", "2026-11-20T10:00:00Z"]);
    assert!(text.contains("errors (less than 0.0144)"), "{text}");
    assert!(text.contains("  0.0002, 600 events\n") && text.contains("  0.02 !, 600 events\n"), "{text}");
    assert!(text.contains("  errors  241 values, 0.0002 to 0.0002, median 0.0002\n"), "{text}");
    let hour = ["--from", "2026-11-20T08:00:00Z", "--to", "2026-11-20T09:30:00Z", "--every", "15m"];
    let (_, quiet, _) = stage.replay(&hour);
    assert!(quiet.contains("healthy           7   100.00 %"), "{quiet}");
}

#[test]
fn a_range_is_one_sync_at_each_step_and_each_query_once() {
    let stage = Stage::new();
    let args = ["--from", "2026-11-20T08:00:00Z", "--to", "2026-11-20T12:00:00Z", "--every", "30m"];
    let (code, out, err) = stage.replay(&[&args[..], &["--output", "json"]].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    let told: Vec<Value> = out.lines().map(json).collect();
    let verdicts: Vec<&str> = told.iter().map(|one| one["verdict"].as_str().unwrap()).collect();
    let healthy = "healthy";
    assert_eq!(
        verdicts,
        [healthy, healthy, healthy, healthy, "degraded", healthy, healthy, healthy, healthy]
    );
    assert_eq!(told[8]["at"], "2026-11-20T12:00:00Z");
    let mut asked = stage.history.asked.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, [r#"query_range errors{app="shop"}"#, r#"query_range latency{app="shop"}"#]);

    let (code, out, _) = stage.replay(&args);
    assert_eq!(code, 0);
    for line in ["healthy           8    88.89 %", "degraded          1    11.11 %", "slo `errors`: 1"] {
        assert!(out.contains(line), "{line}\n{out}");
    }
}

#[test]
fn what_cannot_be_known_is_an_error_and_not_a_verdict() {
    let stage = Stage::new();
    let (code, out, err) = stage.replay(&["--at", "1795168800", "--prometheus", "http://127.0.0.1:1"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("http://127.0.0.1:1") && err.contains("onnection refused"), "{err}");
    let (code, _, err) = stage.replay(&["--at", "yesterday"]);
    assert!(code == 1 && err.contains("RFC 3339"), "{err}");
    let (code, _, err) = stage.replay(&["--from", "1795168800"]);
    assert!(code == 1 && err.contains("--to"), "{err}");
    let (code, _, err) = stage.replay(&[]);
    assert!(code == 1 && err.contains("--at"), "{err}");
    stage
        .policy("apiVersion: lastgood.dev/v1alpha1\napplication: { name: shop }\nrollback: { mode: psuh }\n");
    let (code, _, err) = stage.replay(&["--at", "1795168800"]);
    assert!(code == 1 && err.contains("shop.yaml:3:19"), "{err}");
    stage
        .policy("apiVersion: lastgood.dev/v1alpha1\napplication: { name: shop }\nrollback: { mode: push }\n");
    let (code, _, err) = stage.replay(&["--at", "1795168800"]);
    assert!(code == 1 && err.contains("no slos"), "{err}");
}

#[test]
fn placeholders_are_filled_in_from_the_policy_or_as_said() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(stage.file("shop.yaml")).unwrap();
    let verdict = |args: &[&str]| {
        let (code, out, err) = stage.replay(&[&["--at", "1795168800", "--output", "json"], args].concat());
        if code == 0 { json(&out)["verdict"].as_str().unwrap().to_owned() } else { err }
    };
    assert_eq!(verdict(&["--application", "blog"]), "inconclusive");
    stage.policy(&text.replace("name: shop", "name: 'sh*'"));
    assert!(verdict(&[]).contains("give --application"));
    assert_eq!(verdict(&["--application", "shop"]), "degraded");
    assert_eq!(verdict(&["--set", "application=shop"]), "degraded");
    stage.policy(&text.replace("errors{app", "errors{rev=\"{{ revision }}\",app"));
    assert!(verdict(&[]).contains("give --revision"));
    assert!(verdict(&["--set", "colour=red"]).contains("no such variable"));
}

#[test]
fn a_plot_is_an_svg_with_the_series_and_the_verdict() {
    let stage = Stage::new();
    let (code, _, err) = stage.replay(&["--at", "1795168800", "--plot", "shop.svg"]);
    assert_eq!(code, 0, "{err}");
    let svg = std::fs::read_to_string(stage.file("shop.svg")).unwrap();
    for part in
        ["<svg xmlns=", "prefers-color-scheme:dark", "at most 0.05", "degraded 45 s", "class=\"series\""]
    {
        assert!(svg.contains(part), "{part}\n{svg}");
    }
    assert_eq!(svg.matches("<polyline").count(), 2);
}

/// Errors that come and go a little, and an availability that never moves.
fn two_weeks(query: &str, at: f64) -> Option<f64> {
    match query {
        r#"errors{app="shop"}"# => Some(0.01 + 0.005 * (at / 700.0).sin()),
        r#"latency{app="shop"}"# => Some(0.2),
        _ => None,
    }
}

#[test]
fn suggested_limits_are_valid_quiet_and_told_with_their_reasons() {
    let stage = Stage { dir: tempfile::tempdir().unwrap(), history: serve(two_weeks) };
    let text = format!(
        "# Ours.
apiVersion: lastgood.dev/v1alpha1
application: {{ name: shop }}
prometheus: {{ url: \"{}\" }}
slos:
  - {{ name: errors, query: 'errors{{app=\"shop\"}}', max: 0.012 }} # to be found out
  - {{ name: latency, query: 'latency{{app=\"shop\"}}', max: 0.5 }}
rollback: {{ mode: dry-run }}
",
        stage.history.url
    );
    stage.policy(&text);
    let suggest = ["suggest", "--policy", "shop.yaml", "--to", "2026-11-20T10:00:00Z"];
    let (code, out, err) = command(stage.dir.path(), &suggest);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let (comments, policy) = out.split_at(out.find("# Ours.").unwrap());
    assert_eq!(policy, text.replace("0.012", "0.018"));
    assert!(comments.contains("Of 1345 pretended syncs 0 would have been convicted"), "{comments}");
    assert!(!comments.contains("with the limits before, 0."), "{comments}");
    assert!(comments.contains("latency: too few values, or all the same"), "{comments}");
    stage.policy(&out);
    let (code, out, _) = command(stage.dir.path(), &["check", "shop.yaml"]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn the_limits_of_a_preset_are_told_and_stay() {
    fn errors(query: &str, at: f64) -> Option<f64> {
        query.contains("http_requests_total").then(|| 0.01 + 0.005 * (at / 700.0).sin())
    }
    let stage = Stage { dir: tempfile::tempdir().unwrap(), history: serve(errors) };
    let text = format!(
        "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: shop }}\nprometheus: {{ url: \"{}\" }}\npreset: {{ kind: http, metrics: plain, maxErrors: 0.05 }}\nrollback: {{ mode: dry-run }}\n",
        stage.history.url
    );
    stage.policy(&text);
    let suggest = ["suggest", "--policy", "shop.yaml", "--to", "2026-11-20T10:00:00Z"];
    let (code, out, err) = command(stage.dir.path(), &suggest);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with(&text), "{out}");
    assert!(out.contains("`max: 0.018`") && out.contains("since it is the preset's"), "{out}");
}
