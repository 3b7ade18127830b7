//! Each mistake with what a person is told about it.

use std::path::Path;
use std::time::Duration;

use super::read;
use crate::engine::facts::Reading;
use crate::engine::fixture::at;
use crate::engine::judge::slo::kept;
use crate::engine::policy::{BurnRate, Objective, Part, Rule, Strikes, Windows};
use crate::engine::samples::{Labels, Lines, Sample};

/// A good policy up to its `slos`.
const HEAD: &str = "apiVersion: lastgood.dev/v1alpha1
application: { name: shop }
rollback: { mode: push }
";

/// Reads `text` and compares all mistakes as they are shown.
#[track_caller]
fn check(text: &str, expected: &str) {
    let got =
        read("p.yaml", text.as_bytes()).map_or_else(|mistakes| mistakes.to_string(), |_| "good\n".to_owned());
    assert_eq!(got.trim_end(), expected.trim(), "\n{text}\ngave\n{got}");
}

/// Appends the lines to a good head and compares place, message and help of each mistake.
#[track_caller]
fn check_lines(lines: &str, expected: &[&str]) {
    let text = format!("{HEAD}{lines}\n");
    let got = match read("p", text.as_bytes()) {
        Ok(_) => vec![],
        Err(mistakes) => mistakes.iter().map(super::Mistake::one_line).collect(),
    };
    assert_eq!(got, expected, "\n{text}");
}

/// Like [`check_lines`] for one slo with this query and a limit.
#[track_caller]
fn check_query(query: &str, expected: &[&str]) {
    let lines =
        format!("prometheus: {{ url: http://p }}\nslos:\n  - name: a\n    max: 1\n    query: {query}");
    check_lines(&lines, expected);
}

#[test]
fn a_misspelt_field_is_shown_with_the_right_one() {
    check(
        "apiVersion: lastgood.dev/v1alpha1
application: { name: shop }
analysis:
  duration: 5m
  intervall: 15s
rollback: { mode: push }
",
        "
error: unknown field `intervall`
 --> p.yaml:5:3
  |
5 |   intervall: 15s
  |   ^^^^^^^^^
  = help: did you mean `interval`?",
    );
}

#[test]
fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
    let text = format!("{HEAD}\"\\e[2J\": 1\n");
    let shown = read("p", text.as_bytes()).unwrap_err().to_string();
    assert!(shown.contains("unknown field ` [2J`") && !shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn all_mistakes_are_found_at_once() {
    check(
        "apiVersion: lastgood.dev/v1alpha1
application: { nmae: \"shop-[\", namespace: argocd }
analysis: { duration: 5m, intervall: 6m }
prometheus: { url: http://prometheus:9090 }
slos:
  - name: errors
    query: sum(rate(http_requests_total[1m])
    max: 0.05
rollback: { mode: push }
",
        "
error: unknown field `nmae`
 --> p.yaml:2:16
  |
2 | application: { nmae: \"shop-[\", namespace: argocd }
  |                ^^^^
  = help: did you mean `name`?

error: `shop-[` is not a glob: unclosed character class; missing ']'
 --> p.yaml:2:22
  |
2 | application: { nmae: \"shop-[\", namespace: argocd }
  |                      ^^^^^^^^
  = help: globs use `*`, `?`, `[a-z]` and `{a,b}`

error: unknown field `intervall`
 --> p.yaml:3:27
  |
3 | analysis: { duration: 5m, intervall: 6m }
  |                           ^^^^^^^^^
  = help: did you mean `interval`?

error: the interval (6m) is longer than the analysis (5m): nothing would be measured
 --> p.yaml:3:38
  |
3 | analysis: { duration: 5m, intervall: 6m }
  |                                      ^^
  = help: shorten `interval` or lengthen `duration`

error: broken PromQL: unclosed left parenthesis
 --> p.yaml:7:12
  |
7 |     query: sum(rate(http_requests_total[1m])
  |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
",
    );
}

#[test]
fn structure() {
    check_lines("analysis:\nvariables:\nslos:\nsync:\nrollout:\ngit:", &[]);
    check_lines(
        "slos: [up]",
        &["p:4:8: fields are wanted here; write them as `{ name: value }`, or below each other and indented"],
    );
    check_lines(
        "slos: { name: a }",
        &["p:4:7: a list is wanted here; begin each item with `- `, also when there is only one"],
    );
    check_lines(
        "rollout:\n  restarts: -1\n  oomKill: perhaps\n  restart: 3",
        &[
            "p:5:13: `-1` is not a whole number, 0 or more",
            "p:6:12: `perhaps` is not `true` or `false`",
            "p:7:3: unknown field `restart`; did you mean `restarts`?",
        ],
    );
    check_lines("rollback: { mode: push }", &["p:4:1: `rollback` is given twice; keep one of the two"]);
    check_lines("variables: { a: }", &["p:4:15: there is no value here; give one, or remove the field"]);
    check_lines("variables: { a: 1.10, b: no }", &[]);
    check_lines(
        "---\napplication: { name: other }",
        &[
            "p:5:1: a second document begins here; a file holds one policy, which bears the file's name: move this one to a file of its own",
        ],
    );
    check_lines("variables: { a: ", &["p:4:12: unclosed bracket '{'"]);
    check_lines(
        "variables:\n\ta: b",
        &[
            "p:5:2: tabs disallowed within this context (block indentation); YAML is indented with blanks, never with tabs",
        ],
    );
}

#[test]
fn what_must_be_there() {
    let nothing = "error: there is no policy in this file\n --> p.yaml\n  = help: begin with `apiVersion: lastgood.dev/v1alpha1`, or give the file another ending";
    check("", nothing);
    check("# only a comment\n", nothing);
    check(
        "apiVersion: lastgood.dev/v2\nspec: {}\n",
        "
error: unknown apiVersion `lastgood.dev/v2`
 --> p.yaml:1:13
  |
1 | apiVersion: lastgood.dev/v2
  |             ^^^^^^^^^^^^^^^
  = help: this version of lastgood reads `lastgood.dev/v1alpha1`",
    );
    check(
        "apiVersion: lastgood.dev/v1alpha1\napplication: {}\nrollback: { mode: push }\n",
        "
error: `application` selects nothing
 --> p.yaml:2:14
  |
2 | application: {}
  |              ^
  = help: give at least one of `name`, `namespace`, `project`, `labels`; `name: \"*\"` selects all",
    );
    check(
        "apiVersion: lastgood.dev/v1alpha1\napplication: { name: a }\nrollback: {}\n",
        "
error: `mode` is missing
 --> p.yaml:3:11
  |
3 | rollback: {}
  |           ^
  = help: add `mode: push`, or `mode: dry-run` to only be told what would be pushed",
    );
}

#[test]
fn durations() {
    check_lines(
        "analysis: { duration: 5, interval: soon }",
        &["p:4:23: `5` has no unit; write `5s` for seconds, `5m` for minutes or `5h` for hours"],
    );
    check_lines(
        "analysis:\n  duration: 5\n  interval: soon",
        &[
            "p:5:13: `5` has no unit; write `5s` for seconds, `5m` for minutes or `5h` for hours",
            "p:6:13: `soon` is not a duration: expected number at 0; write it like `30s`, `5m` or `1h 30m`",
        ],
    );
    check_lines(
        "analysis: { duration: 1M }",
        &["p:4:23: `1month` is too long; at most 1day (`m` is minutes, `M` months)"],
    );
    check_lines("analysis: { interval: 0s }", &["p:4:23: `0s` is too short; at least 100ms"]);
    check_lines("analysis: { duration: 10s, interval: 10s }", &[]);
    check_lines("rollout: { imagePullGrace: 0s, unschedulableGrace: 1h 30m }", &[]);
}

#[test]
fn slos_and_their_counts() {
    let slo =
        |more: &str| format!("prometheus: {{ url: http://p }}\nslos:\n  - {{ name: a, query: up, {more} }}");
    check_lines(&slo("max: 1"), &[]);
    check_lines(
        &slo("max: 1, failures: 6"),
        &["p:6:45: 6 failures of 5 measurements can never be reached; at most 5, or raise `of`"],
    );
    check_lines(
        &slo("max: 1, of: 21"),
        &[
            "p:6:39: 21 measurements, one each 15s, take longer than the analysis (5m): the count could never be reached; lower `of` or `interval`, or lengthen the analysis",
        ],
    );
    check_lines(
        &slo("max: 1, failures: 0"),
        &["p:6:45: `failures` is 0: every change would be convicted; at least 1"],
    );
    check_lines(
        &slo("min: 2, max: 1"),
        &["p:6:32: `min` (2) is above `max` (1): no value is good; exchange the two?"],
    );
    check_lines(&slo("max: .inf"), &["p:6:32: `max` is not a finite number"]);
    check_lines(
        &slo("max: -0.5"),
        &[
            "p:6:32: a negative limit (-0.5) for a query that gives no negative values; a gauge that is negative itself can be written as `gauge - 0`",
        ],
    );
    check_lines(
        &slo("of: 4"),
        &[
            "p:6:23: the slo `a` has no limit; add `max:` (the greatest good value), `min:` (the smallest), or both; `trueIs:` where it answers 0 or 1; `comparison:` with the time before; `burnRate:` for an error budget",
        ],
    );
    check_lines(&slo("trueIs: bad"), &[]);
    check_lines(&slo("trueIs: bda"), &["p:6:35: unknown answer `bda`; did you mean `bad`?"]);
    check_lines(
        &slo("trueIs: bad, max: 1"),
        &["p:6:35: the slo `a` has two rules, `max` and `trueIs`; give one; a query may stand in two slos"],
    );
    check_lines(
        "prometheus: { url: http://p }\nslos:\n  - { name: a, query: up, max: 1 }\n  - { name: a, query: up, max: 1 }\n  - { name: '', query: '', max: 1 }",
        &[
            "p:7:13: a second slo named `a`; give each slo a name of its own",
            "p:8:13: `name` is empty",
            "p:8:24: the query is empty",
        ],
    );
    check_lines(
        "slos:\n  - { name: a, query: up, max: 1 }",
        &[
            "p:5:3: there are `slos` but no `prometheus` to ask; add `prometheus: { url: \"http://prometheus.monitoring:9090\" }`",
        ],
    );
}

#[test]
fn missing_data() {
    let slo = |after: &str| {
        format!(
            "prometheus: {{ url: http://p }}\nslos:\n  - {{ name: a, query: up, max: 1, failAfterMissing: {after} }}"
        )
    };
    check_lines(&slo("2m"), &[]);
    check_lines(
        &slo("2s"),
        &[
            "p:6:53: `2s` without data cannot be told; at least one interval (15s), and no longer than the analysis (5m)",
        ],
    );
}

#[test]
fn several_series() {
    let slo = |more: &str| {
        format!(
            "prometheus: {{ url: http://p }}\nslos:\n  - {{ name: a, query: up, max: 1, series: {more} }}"
        )
    };
    check_lines(&slo("one"), &[]);
    check_lines(&slo("each"), &[]);
    check_lines(&slo("every"), &["p:6:43: unknown way to take series `every`; known here: `one`, `each`"]);
    for rule in ["max: 1", "trueIs: bad", "comparison: { worse: increase }", "burnRate: { objective: 99.9% }"]
    {
        let query = if rule.starts_with("burn") { "'rate(x[{{ window }}])'" } else { "x" };
        let text = format!(
            "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: a }}\nrollback: {{ mode: push }}\n\
             prometheus: {{ url: http://p }}\nslos:\n  - {{ name: a, query: {query}, {rule}, series: each }}\n"
        );
        let loaded = read("p", text.as_bytes()).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
        assert_eq!(loaded.policy.slos[0].series, crate::engine::policy::Series::Each, "{rule}");
    }
    // 60 of each of 21 series, before and since.
    let many = |n: usize| {
        let slo = |i| format!("\n  - {{ name: s{i}, query: up, max: 1, series: each, failures: 9, of: 60 }}");
        let slos: String = (0..n).map(slo).collect();
        format!("analysis: {{ interval: 1s }}\nprometheus: {{ url: http://p }}\nslos:{slos}")
    };
    check_lines(&many(2), &[]);
    check_lines(
        &many(3),
        &[
            "p:9:13: the measurements of an analysis would take 323 kB of the state object, more than 300 kB; those of `s2` take 108 kB; lengthen `analysis.interval`, shorten `analysis.duration`, lower `of`, or give fewer slos that go by statistics or judge `each` series",
        ],
    );
}

#[test]
fn guards() {
    let guard = |more: &str| {
        format!(
            "prometheus: {{ url: http://p }}\nslos: [{{ name: a, query: x, max: 1 }}]\nguards:\n  - {{ name: g, query: up, {more} }}"
        )
    };
    for good in ["max: 0", "min: 1", "min: 0, max: 2", "trueIs: bad", "max: 0, suspends: slos"] {
        check_lines(&guard(good), &[]);
    }
    check_lines(
        &guard("suspends: slos"),
        &[
            "p:7:23: the guard `g` has no limit; add `max:` (the greatest good value), `min:` (the smallest), or both; `trueIs:` where it answers 0 or 1",
        ],
    );
    check_lines(
        &guard("max: 0, trueIs: bad"),
        &[
            "p:7:43: the guard `g` has two rules, `max` and `trueIs`; give one; a query may stand in two guards",
        ],
    );
    check_lines(
        &guard("max: 0, suspends: all"),
        &["p:7:45: unknown thing to suspend `all`; known here: `slos-and-rollout`, `slos`"],
    );
    check_lines(
        &guard("max: 0").replace("name: g", "name: a").replace("up", "'sum('"),
        &[
            "p:7:13: a second slo or guard named `a`; give each a name of its own",
            "p:7:23: broken PromQL: unclosed left parenthesis",
        ],
    );
    check_lines(
        "guards: [{ name: g, query: up, max: 0 }]",
        &[
            "p:4:9: there are `guards` but no `prometheus` to ask; add `prometheus: { url: \"http://prometheus.monitoring:9090\" }`",
        ],
    );
    let text = format!(
        "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: a }}\nrollback: {{ mode: push }}\n{}\n  - {{ name: h, query: up, min: 1, suspends: slos }}\n",
        guard("trueIs: bad")
    );
    let loaded = read("p", text.as_bytes()).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    let told: Vec<_> =
        loaded.policy.guards.iter().map(|g| (g.asks.name.as_str(), g.suspends_rollout)).collect();
    assert_eq!(told, [("g", true), ("h", false)]);
}

#[test]
fn comparisons() {
    let slo =
        |more: &str| format!("prometheus: {{ url: http://p }}\nslos:\n  - {{ name: a, query: up, {more} }}");
    check_lines(&slo("comparison: { worse: increase }"), &[]);
    check_lines(&slo("comparison: { worse: either, tolerance: 0.1, minimumChange: 5, also: [1d, 7d] }"), &[]);
    check_lines(
        &slo("comparison: { worse: more }"),
        &["p:6:48: unknown direction `more`; known here: `increase`, `decrease`, `either`"],
    );
    check_lines(
        &slo("comparison: { worse: increase, tolerance: lots }"),
        &["p:6:69: `lots` is not a share; write it like `25%` or `0.25`"],
    );
    check_lines(
        &slo("comparison: { worse: increase, tolerance: -5%, minimumChange: -1, also: [1h, 2d, 2d] }, of: 3"),
        &[
            "p:6:69: a tolerance of -5% is none; a share of the usual value, such as `25%`",
            "p:6:89: a smallest change of -1 is none; 0 or more, in the query's own unit",
            "p:6:100: `1h` ago cannot be compared with; from 1h 10m on, and at most 28days",
            "p:6:108: `2days` stands here twice",
            "p:6:119: `of` has no meaning for a comparison; how much evidence is enough follows from `analysis.falseRollbackRate`",
        ],
    );
    check_lines(
        "analysis: { warmUp: 5m, falseRollbackRate: 60%, baseline: 10s }",
        &[
            "p:4:21: the warm-up (5m) takes as long as the analysis (5m): nothing would count; shorten `warmUp` or lengthen `duration`",
            "p:4:44: a share of 60% of false rollbacks cannot be kept; more than 0 and less than 50%, such as `0.1%`",
            "p:4:59: `10s` is too short; at least 1m",
        ],
    );
}

#[test]
fn burn_rates() {
    let slo = |query: &str, rule: &str| {
        format!(
            "prometheus: {{ url: http://p }}\nslos:\n  - name: a\n    query: {query}\n    burnRate: {{ {rule} }}"
        )
    };
    let share = "sum(rate(e[{{ window }}])) / sum(rate(r[{{ window }}]))";
    check_lines(&slo(share, "objective: 99.9%"), &[]);
    check_lines(
        &slo(
            share,
            "objective: 0.99, events: 'sum(increase(r[{{ window }}]))', minimumErrors: 9, windows: [{ long: 4m, short: 30s, factor: 6 }, { factor: 20 }]",
        ),
        &[],
    );
    let objective =
        |given: &str, expected: &str| check_lines(&slo(share, &format!("objective: {given}")), &[expected]);
    objective(
        "100%",
        "p:8:28: an objective of 100 % leaves no error budget: a single failed event would use it up; leave room, as in `99.9%`",
    );
    objective(
        "1",
        "p:8:28: an objective of 100 % leaves no error budget: a single failed event would use it up; leave room, as in `99.9%`",
    );
    objective("99.9", "p:8:28: an objective of 9990% is none; as a share, such as `99.9%`");
    objective("0", "p:8:28: an objective of 0% cannot be missed; more than 0, such as `99.9%`");
    objective("-5%", "p:8:28: an objective of -5% cannot be missed; more than 0, such as `99.9%`");
    check_lines(
        &slo("sum(rate(e[1m])) / sum(rate(r[1m]))", "objective: 99%, events: 'sum(increase(r[1m]))'"),
        &[
            "p:7:12: the query does not look back over `{{ window }}`, which a burn rate fills in; write `[{{ window }}]` in place of each `[…]`",
            "p:8:41: the query does not look back over `{{ window }}`, which a burn rate fills in; write `[{{ window }}]` in place of each `[…]`",
        ],
    );
    check_lines(
        &slo("max_over_time(a[5m]) / sum(rate(r[{{ window }}]))", "objective: 99%"),
        &[
            "p:7:12: the query looks back over something else beside `{{ window }}`, so what it gives cannot be added up; write `[{{ window }}]` in place of each `[…]`",
        ],
    );
    check_lines(
        &slo("sum(rate(e[{{ window }}])", "objective: 99%, events: 'sum(increase(r{a=b}[{{ window }}]))'"),
        &[
            "p:7:12: broken PromQL: unclosed left parenthesis",
            "p:8:41: broken PromQL: unexpected identifier 'b' in label matching, expected string; put the value between quotes, as in `code=\"500\"`",
        ],
    );
    check_lines(
        &slo(
            share,
            "objective: 99%, minimumErrors: 3, windows: [{ long: 1m, short: 1m, factor: 0 }, { long: 10m, short: 0s, factor: 200 }]",
        ),
        &[
            "p:8:48: without `events` errors are not counted; add `events:`, such as `sum(increase(http_requests_total[{{ window }}]))`",
            "p:8:69: the long window (1m) is no longer than the short one (1m); several times as long, such as `5m` and `1m`",
            "p:8:92: a factor of 0 is none; more than 0, such as `14.4`",
            "p:8:105: the long window (10m) is longer than the analysis (5m), and only what lies after the sync counts; shorten it, or lengthen `analysis.duration`",
            "p:8:117: the short window takes no time; at least four scrapes, such as `1m`",
            "p:8:129: more than every event would have to fail: 200 times the error budget of 1% is 200%; at most `100`",
        ],
    );
    check_lines(
        &slo(
            share,
            "objective: 99%, events: 'sum(increase(r[{{ window }}]))', minimumErrors: 0, windows: []",
        ),
        &[
            "p:8:90: no failed event convicts nobody; at least 1",
            "p:8:102: there are no windows: nothing could convict; leave it out for one pair",
        ],
    );
    check_lines(
        &(slo(share, "objective: 99%") + "\n    max: 0.1\n    of: 3"),
        &[
            "p:8:15: the slo `a` has two rules, `max` and `burnRate`; give one; a query may stand in two slos",
            "p:10:9: `of` has no meaning for a burn rate; how much evidence is enough follows from `analysis.falseRollbackRate`",
        ],
    );
    check_lines(
        &format!("analysis: {{ duration: 3m }}\n{}", slo(share, "objective: 99%")),
        &[
            "p:9:15: the long window (5m) is longer than the analysis (3m), and only what lies after the sync counts; shorten it, or lengthen `analysis.duration`",
        ],
    );
    check_lines(&slo(share, "windows: [{ factor: 3 }]"), &["p:8:17: `objective` is missing"]);
}

#[test]
fn an_error_budget_becomes_a_rule() {
    let text = format!(
        "{HEAD}prometheus: {{ url: http://p }}\nslos:\n  - name: a\n    query: 'x[{{{{ window }}}}]'\n    burnRate: {{ objective: 99.9% }}\n"
    );
    let text = text.replace("'x[", "'rate(x[").replace("}]'", "}])'");
    let rule = read("p", text.as_bytes()).unwrap().policy.slos[0].rule.clone();
    let pair = Windows { long: Duration::from_secs(300), short: Duration::from_secs(60), factor: 14.4 };
    let expected = BurnRate { budget: 0.001, events: None, minimum_errors: 5, windows: vec![pair] };
    assert_eq!(rule, Rule::BurnRate(expected));
}

#[test]
fn queries() {
    check_query(r#"rate(x{a="{{ application }}"}[5m])"#, &[]);
    check_query(
        "rate(x[6m])",
        &[
            "p:8:12: the query looks back 6m, longer than the analysis (5m): it would mostly measure the time before the change; shorten the window in `[…]`, or lengthen `analysis.duration`",
        ],
    );
    check_query(
        "max_over_time(rate(x[3m])[3m:15s])",
        &[
            "p:8:12: the query looks back 6m, longer than the analysis (5m): it would mostly measure the time before the change; shorten the window in `[…]`, or lengthen `analysis.duration`",
        ],
    );
    check_query("rate(x[5m]) / avg_over_time(rate(x[5m])[1h:5m] offset 1d)", &[]);
    check_query("delta(x[5m]) or -x", &[]);
    check_query(
        "rate(x[{{ window }}])",
        &["p:8:19: the slo has no windows to fill in; write a duration, such as `[1m]`"],
    );
    check_query(
        "rate(x[1m]) > {{ window }}",
        &["p:8:26: `{{ window }}` must stand inside `[…]`; write `[{{ window }}]`"],
    );
    check_query(
        "rate(up)",
        &[
            "p:8:12: broken PromQL: expected type matrix in call to function 'rate', got vector; give it a range, as in `rate(x[1m])`",
        ],
    );
    check_query(
        "rate(x[$__rate_interval])",
        &[
            "p:8:12: broken PromQL: unexpected character inside brackets: '$'; `$…` is Grafana's: write the duration or the value itself, or a placeholder such as `{{ application }}`",
        ],
    );
    check_query(
        "rate(sum(x)[5m])",
        &[
            "p:8:12: broken PromQL: ranges only allowed for vector selectors; a range stands behind a metric and its matchers, as in `sum(rate(x[1m]))`; behind anything else write `[5m:15s]`",
        ],
    );
    check_query(
        "x{a=b}",
        &[
            "p:8:12: broken PromQL: unexpected identifier 'b' in label matching, expected string; put the value between quotes, as in `code=\"500\"`",
        ],
    );
    check_query(
        "x[5m]",
        &[
            "p:8:12: the query gives a range of samples where one number is wanted; wrap it, for example in `rate(…)`",
        ],
    );
    check_query(
        r#"x{a="{{ namespce }}"}"#,
        &["p:8:17: unknown variable `namespce`; did you mean `namespace`?"],
    );
    check_query(
        "|\n      sum(\n        x{a=\"{{a}}\"})",
        &["p:10:14: unknown variable `a`; known here: `application`, `namespace`, `revision`"],
    );
    check_query(
        "x{a={{ revision }}}",
        &[
            "p:8:16: `{{ revision }}` must stand inside a quoted string; put it between double quotes, where no value can change the query's meaning",
        ],
    );
    check_query(r#"x{a="{{ revision"}"#, &["p:8:17: `{{` without a closing `}}`; close it with `}}`"]);
    check_query(
        r#"x{a=~"{{ application }}.*("}"#,
        &[
            "p:8:12: broken PromQL: illegal regex for sample.*(; for this check, placeholders were filled with `sample`",
        ],
    );
}

#[test]
fn the_prometheus_url() {
    let check =
        |url: &str, expected: &[&str]| check_lines(&format!("prometheus: {{ url: \"{url}\" }}"), expected);
    check("https://prometheus.example.com/team", &[]);
    check(
        "prometheus:9090",
        &[
            "p:4:20: the URL is neither `http://` nor `https://`; write it like `http://prometheus.monitoring:9090`",
        ],
    );
    check(
        "http://pro metheus",
        &["p:4:20: this is not a URL; write it like `http://prometheus.monitoring:9090`"],
    );
    check(
        "http://p/api/v1",
        &["p:4:20: the URL holds `/api/v1`, which is added by lastgood; give the base URL only"],
    );
    let text = format!("{HEAD}prometheus: {{ url: \"http://admin:hunter2@p\" }}\n");
    let shown = read("p", text.as_bytes()).unwrap_err().to_string();
    assert!(shown.contains("no place for secrets") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn other_senseless_values() {
    check_lines(
        "variables: { application: x, 'a b': y }",
        &[
            "p:4:27: `application` is always there and cannot be set; choose another name",
            "p:4:37: `a b` is not a variable name; use letters, digits and `_`",
        ],
    );
    check_lines(
        "sync: { failedAttempts: 0 }",
        &["p:4:25: `failedAttempts` is 0: every sync would convict at once; at least 1"],
    );
    check_lines(
        "git: { author: { name: 'a <b>' } }",
        &["p:4:24: the author's name holds `<` or `>`; leave them out; they are added by Git"],
    );
    check_lines("git: { secret: '' }", &["p:4:16: `secret` is empty"]);
    check_lines(
        "git: { signing: { secret: ' x' } }",
        &["p:4:27: `secret` holds a line break, a control character or blanks at its ends"],
    );
}

/// Appends to a rollback and compares place, message and help of each mistake.
#[track_caller]
fn check_rollback(lines: &str, expected: &[&str]) {
    let text = format!(
        "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: shop }}\nrollback:\n  mode: push\n  {lines}\n"
    );
    let got = match read("p", text.as_bytes()) {
        Ok(_) => vec![],
        Err(mistakes) => mistakes.iter().map(super::Mistake::one_line).collect(),
    };
    assert_eq!(got, expected, "\n{text}");
}

#[test]
fn what_a_revert_may_do_is_one_of_a_few_words() {
    check_rollback("onConflict: restore\n  onNewerChange: revert\n  sharedFiles: pull-request", &[]);
    check_rollback("onConflict: restor", &["p:5:15: unknown word `restor`; did you mean `restore`?"]);
    check_rollback("onNewerChange: hold", &["p:5:18: unknown word `hold`; known here: `wait`, `revert`"]);
}

#[test]
fn what_is_never_reverted_can_be_read() {
    check_rollback(
        "neverRevert: { paths: ['crds', '**/secret-*.yaml'], kinds: [Secret, apps/Deployment] }",
        &[],
    );
    check_rollback("neverRevert: { kinds: [] }", &[]);
    check_rollback(
        "neverRevert: { kinds: [secrets, a/b/C] }",
        &[
            "p:5:26: `secrets` is not a kind; write `Kind` or `group/Kind`, such as `StorageClass` or \
             `storage.k8s.io/StorageClass`",
            "p:5:35: `a/b/C` is not a kind; write `Kind` or `group/Kind`, such as `StorageClass` or \
             `storage.k8s.io/StorageClass`",
        ],
    );
    check_rollback(
        "neverRevert: { paths: ['a[', ''] }",
        &[
            "p:5:26: `a[` is not a glob: unclosed character class; missing ']'; globs use `*`, `**`, `?`, `[a-z]` and \
             `{a,b}`",
            "p:5:32: `paths` is empty",
        ],
    );
}

#[test]
fn what_is_not_text_is_refused() {
    let mistakes = read("p", b"apiVersion: x\nname: \xff\n").unwrap_err();
    assert_eq!(
        mistakes.iter().next().unwrap().one_line(),
        "p:2:7: this is not UTF-8 text; save the file in UTF-8"
    );
    let mistakes = read("p", &vec![b' '; 300_000]).unwrap_err();
    assert_eq!(
        mistakes.to_string().lines().next(),
        Some("error: the file has 300000 bytes, which is no policy")
    );
}

#[test]
fn defaults_are_those_of_the_reference() {
    let text =
        format!("{HEAD}prometheus: {{ url: http://p/ }}\nslos: [{{ name: a, query: up, min: 0, max: 1 }}]\n");
    let loaded = read("config/shop.yaml", text.as_bytes()).unwrap();
    let policy = &loaded.policy;
    assert_eq!(policy.name, "shop");
    assert_eq!(
        (policy.duration.as_secs(), policy.interval.as_secs(), policy.sync_failed_attempts),
        (300, 15, 2)
    );
    let slo = &policy.slos[0];
    let (objective, strikes) = (Objective::Between { min: 0.0, max: 1.0 }, Strikes { failures: 3, of: 5 });
    assert_eq!(slo.rule, Rule::Threshold { objective, strikes });
    assert_eq!(policy.prometheus.as_ref().unwrap().url, "http://p");
    assert_eq!(policy.git.author_name, "lastgood");
    assert_eq!(policy.rollback.revert, crate::engine::policy::RevertRules::default());
}

#[test]
fn the_samples_are_valid() {
    let set = super::PolicySet::load(Path::new("config")).unwrap_or_else(|mistakes| panic!("\n{mistakes}"));
    let names: Vec<&str> = set.iter().map(|loaded| loaded.policy.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "burn-rate",
            "comparison",
            "dry-run",
            "group",
            "guarded",
            "preset-grpc",
            "preset-http",
            "preset-worker",
            "variables",
            "web",
            "worker"
        ]
    );
}

/// The deepest queries that the length allows must not exhaust the stack.
#[test]
fn deep_nesting_is_survived() {
    for query in [
        "(".repeat(4096),
        "-".repeat(4095) + "x",
        format!("{}x{}", "(".repeat(2040), ")".repeat(2040)),
        format!("{}x{}", "abs(".repeat(800), ")".repeat(800)),
    ] {
        let text = format!(
            "{HEAD}prometheus: {{ url: http://p }}\nslos: [{{ name: a, max: 1, query: '{query}' }}]\n"
        );
        let _outcome = read("p", text.as_bytes());
    }
    for open in ["[", "{a: "] {
        assert!(read("p", format!("{HEAD}variables: {}", open.repeat(60_000)).as_bytes()).is_err());
    }
}

#[test]
fn pull_requests() {
    check_lines(
        "git: { forge: { kind: bitbucket } }",
        &["p:4:23: unknown kind of forge `bitbucket`; known here: `github`, `gitlab`, `gitea`"],
    );
    check_lines(
        "git: { forge: { url: 'https://ann:secret@git.example', secret: ' ' } }",
        &[
            "p:4:22: the URL holds a user name or a password, and a file like this is no place for secrets; take out everything up to `@`",
            "p:4:64: `secret` is empty",
        ],
    );
    let with = |rollback: &str| {
        let text =
            format!("apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: a }}\nrollback: {rollback}\n");
        match read("p", text.as_bytes()) {
            Ok(loaded) => format!("{:?}", loaded.policy.rollback.proposals),
            Err(mistakes) => mistakes.iter().map(super::Mistake::one_line).collect(),
        }
    };
    for (rollback, expected) in [
        (
            "{ mode: pull-request, pullRequest: { labels: [a], reviewers: [b/c], autoMerge: squash } }",
            "ProposalRules { if_protected: true, labels: [\"a\"], reviewers: [\"b/c\"], auto_merge: Some(Squash) }",
        ),
        (
            "{ mode: push, onProtected: hold }",
            "ProposalRules { if_protected: false, labels: [], reviewers: [], auto_merge: None }",
        ),
        (
            "{ mode: push, pullRequest: { labels: ['a,b'] } }",
            "p:3:49: `a,b` holds a comma; write each as an item of its own",
        ),
    ] {
        assert_eq!(with(rollback), expected, "{rollback}");
    }
}

#[test]
fn how_a_prometheus_is_reached() {
    let check = |fields: &str, expected: &[&str]| {
        check_lines(&format!("prometheus: {{ url: https://p, {fields} }}"), expected);
    };
    check("tenant: a|b, headers: { X-Team: shop }, credentials: { secret: mimir }", &[]);
    check("credentials: { folder: /etc/prometheus-credentials }, headers:", &[]);
    check("tenant: ' '", &["p:4:39: `tenant` is empty"]);
    check("tenant: 'a b'", &["p:4:39: `a b` cannot be sent in a header; use ASCII without blanks"]);
    check(
        "headers: { authorization: Bearer x, X-Scope-OrgID: a }",
        &[
            "p:4:57: the header `authorization` cannot be set here; put `bearerToken`, or `username` and `password`, where `credentials` says",
            "p:4:82: the header `X-Scope-OrgID` cannot be set here; give it as `tenant`",
        ],
    );
    check(
        "headers: { 'a b': c }",
        &["p:4:49: `a b` is not the name of a header; use letters, digits and `-`"],
    );
    check(
        "headers: { a: '\u{e9}\n' }",
        &["p:4:45: `a` holds a line break, a control character or blanks at its ends"],
    );
    check(
        "credentials: {}",
        &[
            "p:4:44: `credentials` does not say where they are; give `secret: NAME` or `folder: PATH`; neither is needed for a server that wants none",
        ],
    );
    check(
        "credentials: { secret: a, folder: /b }",
        &["p:4:65: the credentials are in a Secret already; give `secret` or `folder`"],
    );
    check(
        "credentials: { folder: b }",
        &[
            "p:4:54: `b` is not an absolute path; begin it with `/`: the daemon's working folder is nobody's choice",
        ],
    );
}

/// Comparisons over two hours of measurements, one each 15 s.
fn long_comparisons(count: usize) -> String {
    let one = |i| format!("  - {{ name: a{i}, query: x, comparison: {{ worse: increase }} }}\n");
    let slos: String = (0..count).map(one).collect();
    format!("analysis: {{ duration: 2h }}\nprometheus: {{ url: http://p }}\nslos:\n{slos}")
}

#[test]
fn measurements_fit_into_the_state_object() {
    check_lines(
        &long_comparisons(8),
        &[
            "p:14:13: the measurements of an analysis would take 316 kB of the state object, more than 300 kB; those of `a7` take 40 kB; lengthen `analysis.interval`, shorten `analysis.duration`, lower `of`, or give fewer slos that go by statistics or judge `each` series",
        ],
    );
    let policy = read("p", format!("{HEAD}{}", long_comparisons(7)).as_bytes()).unwrap().policy;
    // The longest of numbers, for as long as an analysis can last.
    let longest = Reading::Value(-1.234_567_890_123_456_7e-300);
    let mut saved = 0;
    for slo in &policy.slos {
        let mut lines = Lines::default();
        for second in 0..100_000 {
            lines.add(
                Part::Value,
                &Labels::new(),
                Sample::new(at(1_750_000_000 + 15 * second), longest.clone()),
                kept(slo, &policy),
            );
        }
        saved += serde_json::to_string(&lines).unwrap().len();
    }
    assert!((270_000..300_000).contains(&saved), "{saved}");
}

#[test]
fn presets_and_their_mistakes() {
    let check = |fields: &str, expected: &[&str]| {
        check_lines(&format!("prometheus: {{ url: http://p }}\npreset: {{ {fields} }}"), expected);
    };
    for metrics in ["istio", "linkerd", "ingress-nginx", "traefik", "envoy-gateway", "plain"] {
        check(&format!("kind: http, metrics: {metrics}, maxLatency: 1s"), &[]);
    }
    for metrics in ["istio", "linkerd", "plain"] {
        check(&format!("kind: grpc, metrics: {metrics}, objective: 99%, compareLatency: true"), &[]);
    }
    check("kind: worker, metrics: celery", &[]);
    check(
        "kind: grpc, metrics: traefik",
        &[
            "p:5:32: the metrics of `traefik` do not tell how a `grpc` is doing; take those of `istio`, `linkerd` or `plain`",
        ],
    );
    check("kind: htpp, metrics: istio", &["p:5:17: unknown kind `htpp`; did you mean `http`?"]);
    check(
        "kind: http, metrics: istio, maxErrors: 5",
        &["p:5:50: `5` is not a share of requests that may fail; more than 0 and less than 1; 0.05 is 5 %"],
    );
    check(
        "kind: http, metrics: istio, window: 6m, maxErrors: 0.1",
        &[
            "p:5:47: a window of 6m does not fit an analysis of 5m; at least four scrapes, and at most the analysis",
        ],
    );
    check(
        "kind: http, metrics: istio, objective: 100%",
        &[
            "p:5:50: `100%` is no objective that leaves an error budget; more than 0 and less than 100%, such as `99.9%`",
        ],
    );
    check(
        "kind: http, metrics: istio, objective: 99%, maxErrors: 0.1, compareLatency: true, maxLatency: 1s",
        &[
            "p:5:50: `objective` and `maxErrors` are two rules for the same; give one",
            "p:5:87: `compareLatency` and `maxLatency` are two rules for the same; give one",
        ],
    );
    let short = "p:5:9: an analysis of 5m is too short: the first 1m 30s after the sync do not count, and a window of 4m comes on top; lengthen `analysis.duration`, or judge by limits: `maxErrors`, `maxLatency`";
    check("kind: http, metrics: istio, window: 4m", &[short]);
    check("kind: http, metrics: istio, window: 4m, maxErrors: 0.1, compareLatency: true", &[short]);
    check("kind: http, metrics: istio, window: 4m, maxErrors: 0.1, maxLatency: 1s", &[]);
    check_lines(
        "analysis: { duration: 10m, interval: 1s }\nprometheus: { url: http://p }\npreset: { kind: http, metrics: istio }",
        &[
            "p:6:9: an analysis can have more than 1000 measurements, which are kept for statistics; lengthen `analysis.interval`",
        ],
    );
    let help = "; write label matchers with commas between, such as `namespace=\"{{ namespace }}\", app=\"{{ application }}\"`";
    for (selector, why) in [
        ("''", "it is empty"),
        (r#"'a="b"} or vector(1) or x{a="b"'"#, "it closes the braces"),
        ("'a={{ application }}'", "`{{ application }}` must stand inside a quoted string"),
    ] {
        check(
            &format!("kind: http, metrics: istio, selector: {selector}"),
            &[&format!("p:5:49: these are no label matchers: {why}{help}")],
        );
    }
    check_lines(
        "preset: { kind: http, metrics: istio }",
        &[
            "p:4:9: there is a `preset` but no `prometheus` to ask; add `prometheus: { url: \"http://prometheus.monitoring:9090\" }`",
        ],
    );
}

#[test]
fn a_preset_stands_for_plain_slos() {
    let written_out = |fields: &str| {
        let text = format!("{HEAD}prometheus: {{ url: http://p }}\n{fields}\n");
        let file = super::SourceFile { name: "p.yaml".into(), bytes: text.clone().into_bytes() };
        let yaml = super::preset::written_out(&file).unwrap();
        // What is shown can be written in its place, and means the same.
        let (before, _) = fields.split_once("preset:").unwrap();
        let by_hand = format!("{HEAD}prometheus: {{ url: http://p }}\n{before}{yaml}");
        let policy = |text: &str| read("p.yaml", text.as_bytes()).map(|loaded| loaded.policy);
        let trimmed = |policy: &crate::engine::policy::Policy| {
            let slos = policy.slos.iter();
            slos.map(|slo| (slo.name.clone(), format!("{:?}", slo.rule))).collect::<Vec<_>>()
        };
        if !fields.contains("slos:") {
            assert_eq!(trimmed(&policy(&by_hand).unwrap()), trimmed(&policy(&text).unwrap()), "{yaml}");
        }
        yaml
    };
    assert_eq!(
        written_out("preset: { kind: http, metrics: istio, maxLatency: 800ms, maxErrors: 0.02 }"),
        r#"slos:
  - name: error-rate
    query: |
      (sum(rate(istio_requests_total{destination_workload_namespace="{{ namespace }}", destination_workload="{{ application }}", reporter="destination", response_code=~"5.."}[1m])) or vector(0))
        / (sum(rate(istio_requests_total{destination_workload_namespace="{{ namespace }}", destination_workload="{{ application }}", reporter="destination"}[1m])) > 0)
    max: 0.02
    failures: 3
    of: 5
  - name: latency-p99
    query: |
      histogram_quantile(0.99,
        sum by (le) (rate(istio_request_duration_milliseconds_bucket{destination_workload_namespace="{{ namespace }}", destination_workload="{{ application }}", reporter="destination"}[1m])))
    max: 800
    failures: 4
    of: 6
"#
    );
    assert_eq!(
        written_out("preset: { kind: grpc, metrics: istio, selector: 'a=\"b\"', compareLatency: true }"),
        r#"slos:
  - name: error-rate
    query: |
      (sum(rate(istio_requests_total{a="b", reporter="destination", request_protocol="grpc", grpc_response_status=~"2|4|12|13|14|15"}[{{ window }}])) or vector(0))
        / (sum(rate(istio_requests_total{a="b", reporter="destination", request_protocol="grpc"}[{{ window }}])) > 0)
    burnRate:
      objective: 99.9%
      events: |-
        sum(increase(istio_requests_total{a="b", reporter="destination", request_protocol="grpc"}[{{ window }}]))
      windows:
        - { long: 5m, short: 1m, factor: 14.4 }
  - name: latency-p95
    query: |
      histogram_quantile(0.95,
        sum by (le) (rate(istio_request_duration_milliseconds_bucket{a="b", reporter="destination", request_protocol="grpc"}[1m])))
    comparison:
      worse: increase
      tolerance: 50%
      minimumChange: 50
"#
    );
    assert_eq!(
        written_out(
            "analysis: { duration: 8m }\npreset: { kind: worker, metrics: celery, window: 2m, objective: 0.95, selector: 'a=\"b\"' }"
        ),
        r#"slos:
  - name: error-rate
    query: |
      (sum(rate(celery_task_failed_total{a="b"}[{{ window }}])) or vector(0))
        / (((sum(rate(celery_task_failed_total{a="b"}[{{ window }}])) or vector(0)) + (sum(rate(celery_task_succeeded_total{a="b"}[{{ window }}])) or vector(0))) > 0)
    burnRate:
      objective: 95%
      events: |-
        ((sum(increase(celery_task_failed_total{a="b"}[{{ window }}])) or vector(0)) + (sum(increase(celery_task_succeeded_total{a="b"}[{{ window }}])) or vector(0)))
      windows:
        - { long: 8m, short: 2m, factor: 14.4 }
"#
    );
    // One of the policy's own with the same name takes its place.
    let own = "preset: { kind: http, metrics: plain }\nslos: [{ name: error-rate, query: up, min: 1 }]";
    assert_eq!(written_out(own), "slos:\n");
}
