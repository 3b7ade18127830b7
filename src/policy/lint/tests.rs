//! Each warning beside the query that looks like it and is right.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::read;

/// The warnings of a file, each with the text that is marked.
fn warned(text: &str, scrape_interval: u64) -> Vec<String> {
    if let Err(mistakes) = read("p", text.as_bytes()) {
        panic!("{text}\n{mistakes}");
    }
    let file = SourceFile { name: "p".to_owned(), bytes: text.as_bytes().to_vec() };
    let assumptions = Assumptions { scrape_interval: Duration::from_secs(scrape_interval) };
    let marked = |warning: &Mistake| {
        let place = warning.place.as_ref().expect("all of these have a place");
        place.text.chars().skip(place.column - 1).take(place.width).collect::<String>()
    };
    warnings(&file, assumptions).iter().map(|one| format!("{} {}", one.code.word(), marked(one))).collect()
}

/// One slo with this query over these lines, with a limit, in an analysis of five minutes.
fn policy(query: &str, limit: &str) -> String {
    format!(
        "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: a }}\nrollback: {{ mode: push }}\n\
         prometheus: {{ url: http://p }}\nslos:\n  - name: a\n    {limit}\n    query: |\n      {}\n  - {{ name: b, query: x, max: 1 }}\n",
        query.replace('\n', "\n      ")
    )
}

/// Compares kind and marked text of each warning about a query.
#[track_caller]
fn check(query: &str, expected: &[&str]) {
    assert_eq!(warned(&policy(query, "max: 0.5"), 15), expected, "{query}");
}

#[track_caller]
fn check_limit(limit: &str, query: &str, expected: &[&str]) {
    assert_eq!(warned(&policy(query, limit), 15), expected, "{limit} {query}");
}

#[test]
fn windows_see_four_scrapes() {
    check("sum(rate(x_total[1m]))", &[]);
    check("sum(rate(x_total[59s]))", &["short-window [59s]"]);
    check(
        "sum(irate(x_total[30s])) + sum(increase(y_total[45s]))",
        &["short-window [30s]", "short-window [45s]"],
    );
    check("sum(delta(x[30s]))", &["short-window [30s]"]);
    // What needs one sample only.
    check("max(max_over_time(x[15s]))", &[]);
    let slower = policy("sum(rate(x_total[1m])) + sum(rate(y_total[2m]))", "max: 1");
    assert_eq!(
        warned(&slower.replace("slos:", "analysis: { interval: 30s }\nslos:"), 30),
        ["short-window [1m]"]
    );
}

#[test]
fn the_right_one_of_equal_parts_is_marked() {
    let text = policy(
        "sum(rate(a[2m]))\n  / sum(rate(b[30s] # [30s]\n  )) + sum(rate(c{d=\"[30s]\"}[30s]))",
        "max: 1",
    );
    let file = SourceFile { name: "p".to_owned(), bytes: text.into_bytes() };
    let found = warnings(&file, Assumptions { scrape_interval: Duration::from_secs(15) });
    let places: Vec<String> = found.iter().map(Mistake::location).collect();
    // The second window is the fourth text of its kind.
    assert_eq!(places, ["p:10:21", "p:11:35"]);
    check("avg(sum) / sum by (job) (rate(x[30s]))", &["never-matches /", "short-window [30s]"]);
    check("avg (rate(x{sum=\"a\"}[30s] @ start())) + time()", &["short-window [30s]"]);
}

#[test]
fn measurements_are_not_faster_than_scrapes() {
    let of = |scrapes: u64| {
        warned(&policy("x", "max: 1").replace("slos:", "analysis: { interval: 10s }\nslos:"), scrapes)
    };
    assert_eq!(of(15), ["fast-interval 10s"]);
    assert_eq!(of(10), Vec::<String>::new());
    // The default is nowhere in the file.
    let shown = |more: &str| {
        let text = policy("x", "max: 1").replace("slos:", &format!("{more}\nslos:"));
        let file = SourceFile { name: "p".to_owned(), bytes: text.into_bytes() };
        let found = warnings(&file, Assumptions { scrape_interval: Duration::from_secs(30) });
        found.iter().map(Mistake::location).collect::<Vec<_>>()
    };
    assert_eq!(shown("analysis: { duration: 10m }"), ["p:5:11"]);
    assert_eq!(shown(""), ["p:1:1"]);
}

#[test]
fn ratios_have_a_value_without_errors() {
    let errors = r#"sum(rate(http_total{code=~"5.."}[1m]))"#;
    let all = "sum(rate(http_total[1m]))";
    check(&format!("{errors}\n/ {all}"), &["no-traffic /"]);
    check(&format!("1 - {errors} / {all}"), &["no-traffic /"]);
    check("sum(rate(http_errors_total[1m])) / sum(rate(http_requests_total[1m]))", &["no-traffic /"]);
    let by = |query: &str| query.replace("sum(", "sum by (pod) (");
    check(&format!("max({} / {})", by(errors), by(all)), &["no-traffic /"]);
    check(&format!("max(({} or 0 * {}) / {})", by(errors), by(all), by(all)), &[]);
    // Handled in one of the usual ways.
    check(&format!("({errors} or vector(0)) / {all}"), &[]);
    check(&format!("{errors} / {all} or vector(0)"), &[]);
    check(&format!("{errors} / clamp_min({all}, 1)"), &[]);
    check(&format!("{errors} / ({all} > 0)"), &[]);
    // Nothing is missing that the whole has.
    check("sum(rate(x_seconds_sum[1m])) / sum(rate(x_seconds_count[1m]))", &[]);
    check(r#"sum(rate(x_bucket{le="0.3"}[1m])) / sum(rate(x_count[1m]))"#, &[]);
    check(r#"sum(rate(x_bucket{le="0.3"}[1m])) / sum(rate(x_bucket{le="+Inf"}[1m]))"#, &[]);
    check(&format!("{all} / {}", all.replace(']', "] offset 1d")), &[]);
    check("sum(memory_bytes{kind=\"rss\"}) / sum(memory_bytes)", &[]);
}

#[test]
fn objectives_leave_room() {
    let errors = r#"(sum(rate(h_total{code=~"5.."}[1m])) or vector(0)) / sum(rate(h_total[1m]))"#;
    check_limit("max: 0", errors, &["no-error-budget 0"]);
    check_limit("max: 0", &format!("100 * {errors}"), &["no-error-budget 0"]);
    check_limit("max: 0.001", errors, &[]);
    check_limit("min: 1", &format!("1 - ({errors})"), &["no-error-budget 1"]);
    check_limit("min: 100", &format!("100 * {errors}"), &["no-error-budget 100"]);
    check_limit("min: 1", &format!("100 * {errors}"), &[]);
    // No share of requests.
    check_limit("max: 0", "sum(increase(panics_total[1m]))", &[]);
    check_limit("min: 1", "min(x) / min(y)", &[]);
}

#[test]
fn one_series_is_wanted() {
    check("rate(http_total[1m])", &["several-series rate"]);
    check("rate(http_total{pod=\"a\"}[1m])", &[]);
    check("sum(rate(http_total[1m]))", &[]);
    check("up", &["several-series up"]);
    check(r#"up{instance="a"}"#, &[]);
    check("avg(up)", &[]);
    // One series or several: the text does not tell.
    check("x", &[]);
    check("job:errors:rate1m", &[]);
    check("rate(x[1m])", &[]);
    check("sum without (pod) (x)", &[]);
    check("sum by (pod, app) (x)", &["several-series sum"]);
    check("max(sum by (pod) (x))", &[]);
    check(r#"sum by (app) (x{app="{{ application }}"})"#, &[]);
    check(r#"sum by (app) (x{app=~"{{ application }}"})"#, &["several-series sum"]);
    check("histogram_quantile(0.9, rate(x_bucket[1m]))", &["several-series rate"]);
    check("histogram_quantile(0.9, sum by (le) (rate(x_bucket[1m])))", &[]);
    check("histogram_quantile(0.9, sum by (le, pod) (rate(x_bucket[1m])))", &["several-series sum"]);
    check("topk(3, x)", &["several-series topk"]);
    check("topk(1, x)", &[]);
    check("sum by (app) (x) or vector(0)", &["several-series sum"]);
    check("sum(x) or vector(0)", &[]);
    check("sum by (pod) (x) / sum by (pod) (y)", &["several-series sum"]);
}

#[test]
fn where_each_series_is_judged_none_is_of_a_pod() {
    let each = |query: &str, expected: &[&str]| check_limit("series: each\n    max: 1", query, expected);
    each("sum by (path) (x)", &[]);
    each("topk(3, sum by (path) (x))", &[]);
    each("sum by (path) (x) or vector(0)", &[]);
    each("sum by (path, pod) (x)", &["series-per-pod sum"]);
    each("up", &["series-per-pod up"]);
    each("rate(http_total[1m])", &["series-per-pod rate"]);
    each("sum(x)", &[]);
}

#[test]
fn sides_that_never_match() {
    check("sum by (app) (x) / sum(y)", &["never-matches /"]);
    check("sum(sum by (app) (x) / on () group_left sum(y))", &[]);
    check("sum by (app) (x) * 100 > 3 and sum(y)", &["several-series sum"]);
    check(r#"sum by (app) (x{app="a"}) / sum by (app) (y{app="a"})"#, &[]);
    check(r#"sum by (app) (x{app="a"}) / sum(y)"#, &["never-matches /"]);
}

#[test]
fn what_is_false_has_a_value() {
    check("sum(x) > 5", &["no-value-when-false >"]);
    check("(sum(x) != 5)", &["no-value-when-false !="]);
    check("sum(x) > bool 5", &[]);
    check("sum(x) >= 0", &[]);
    check("sum(x) and sum(y) > 5", &[]);
    check("absent(x)", &["no-value-when-false absent"]);
    check("absent(x) or vector(0)", &[]);
}

#[test]
fn a_past_that_stays_the_past() {
    check("sum(rate(x_total[1m])) / sum(rate(x_total[1m] offset 2m))", &["compared-with-itself /"]);
    check("sum(rate(x_total[1m])) / sum(rate(x_total[1m] offset 5m))", &[]);
    check("sum(rate(x_total[1m] offset 1d)) - sum(rate(x_total[1m]))", &[]);
    check("sum(x) / sum(x)", &["compared-with-itself /"]);
    check("sum(x) / sum(y offset 1m)", &[]);
    check("1 / 1 + sum(x)", &[]);
}

#[test]
fn subqueries_see_what_happens() {
    check("max_over_time(sum(rate(x[1m]))[4m:15s])", &[]);
    check("max_over_time(sum(rate(x[1m]))[3m:2m])", &["coarse-subquery [3m:2m]"]);
    check("max_over_time(sum(rate(x[1m]))[4m:90s])", &["coarse-subquery [4m:90s]"]);
    check("max_over_time(sum(x)[1m:])", &["coarse-subquery [1m:]"]);
    check("max_over_time(sum(x)[4m:])", &[]);
}

#[test]
fn counters_and_gauges() {
    check("rate(sum(x_total)[3m:15s])", &["rate-of-aggregate rate"]);
    check("sum(rate(x_total[3m]))", &[]);
    check("sum(rate(queue_depth[1m]))", &[]);
    check("sum(rate(jobs_queue_depth[1m]))", &["rate-of-gauge rate"]);
    check("sum(rate(process_resident_memory_bytes[1m]))", &["rate-of-gauge rate"]);
    check("sum(rate(sent_bytes[1m]))", &[]);
    check("sum(delta(x_total[1m]))", &["delta-of-counter delta"]);
    check("sum(http_errors_total)", &["counter-without-rate http_errors_total"]);
    check("count(http_errors_total)", &[]);
    check("sum(x_total) - sum(x_total offset 5m)", &[]);
    check("sum(rate(y[1m])) unless absent(x_total)", &[]);
    check("max_over_time(sum(x_total)[5m:15s])", &[]);
}

#[test]
fn quantiles() {
    check("histogram_quantile(0.9, sum(rate(x_bucket[1m])))", &["quantile-without-le sum"]);
    check("histogram_quantile(0.9, sum without (le) (rate(x_bucket[1m])))", &["quantile-without-le sum"]);
    // A native histogram.
    check("histogram_quantile(0.9, sum(rate(x_seconds[1m])))", &[]);
    check(
        "histogram_quantile(99, sum by (le) (rate(x_bucket[1m])))",
        &["quantile-out-of-range histogram_quantile"],
    );
    check("quantile(0.5, x)", &[]);
    check("quantile(95, x)", &["quantile-out-of-range quantile"]);
    check("max(quantile_over_time(1.5, x[1m]))", &["quantile-out-of-range quantile_over_time"]);
}

#[test]
fn a_warning_says_what_to_write() {
    let text = policy("sum(rate(x_total[30s]))", "max: 1");
    let file = SourceFile { name: "p.yaml".to_owned(), bytes: text.into_bytes() };
    let found = warnings(&file, Assumptions { scrape_interval: Duration::from_secs(15) });
    let expected = "warning[short-window]: `rate` over 30s with a scrape each 15s: shorter than four scrapes, so one or two that fail leave no value
 --> p.yaml:9:23
  |
9 |       sum(rate(x_total[30s]))
  |                       ^^^^^
  = help: write `[1m]` or more, or tell `--scrape-interval` if scrapes come more often
";
    assert_eq!(found.iter().map(ToString::to_string).collect::<String>(), expected);
}

#[test]
fn each_kind_has_a_word_of_its_own() {
    for code in Code::ALL {
        assert_eq!(code.word().parse(), Ok(*code));
    }
    assert_eq!("short-windows".parse::<Code>().unwrap_err(), "did you mean `short-window`?");
}

/// A comparison within these times; `{}` where they are the defaults.
#[track_caller]
fn check_comparison(analysis: &str, rule: &str, query: &str, expected: &[&str]) {
    let text = policy(query, &format!("comparison: {{ {rule} }}"));
    let text = text.replace("slos:", &format!("analysis: {{ {analysis} }}\nslos:"));
    let text = text.replace("query: x, max: 1", "query: x, max: 1, failures: 1, of: 1");
    assert_eq!(warned(&text, 15), expected, "{analysis} {rule} {query}");
}

#[test]
fn comparisons_can_convict() {
    let query = "sum(rate(x_total[1m]))";
    check_comparison("", "worse: increase", query, &[]);
    check_comparison("", "worse: decrease, tolerance: 50%, minimumChange: 100", query, &[]);
    check_comparison("duration: 1m", "worse: increase", query, &["comparison-too-short {"]);
    check_comparison("baseline: 1m", "worse: increase", query, &["comparison-too-short {"]);
    // Nothing falls below zero.
    check_comparison("", "worse: decrease, tolerance: 200%", query, &["comparison-too-short {"]);
    let slow = "sum(rate(x_total[5m]))";
    check_comparison("", "worse: increase", slow, &["comparison-too-short {"]);
    check_comparison("duration: 10m, baseline: 2h", "worse: increase", slow, &[]);
}

/// A burn rate of this query within these times.
#[track_caller]
fn check_burn_rate(analysis: &str, rule: &str, query: &str, expected: &[&str]) {
    let text = policy(query, &format!("burnRate: {{ objective: 99.9%, {rule} }}"));
    let text = text.replace("slos:", &format!("analysis: {{ {analysis} }}\nslos:"));
    let text = text.replace("query: x, max: 1", "query: x, max: 1, failures: 1, of: 1");
    assert_eq!(warned(&text, 15), expected, "{analysis} {rule} {query}");
}

#[test]
fn burn_rates_can_convict_and_ask_for_what_they_take() {
    let share = "(sum(rate(x_total{a=\"b\"}[{{ window }}])) or vector(0)) / sum(rate(x_total[{{ window }}]))";
    let count = |events: &str| format!("events: '{events}'");
    let events = count("sum(increase(x_total[{{ window }}]))");
    check_burn_rate("", &events, share, &[]);
    check_burn_rate("baseline: 2h", "", share, &[]);
    // Twenty bad windows of sixty could have come in that order by chance.
    check_burn_rate("baseline: 5m", "", share, &["burn-rate-too-short {"]);
    check_burn_rate(
        "duration: 2m",
        &format!("{events}, windows: [{{ long: 2m }}]"),
        share,
        &["burn-rate-too-short {"],
    );
    check_burn_rate("duration: 3m", &format!("{events}, windows: [{{ long: 2m }}]"), share, &[]);
    check_burn_rate(
        "",
        &format!("{events}, windows: [{{ short: 30s }}]"),
        share,
        &["short-window [{{ window }}]", "short-window [{{ window }}]", "short-window [{{ window }}]"],
    );
    check_burn_rate("", &count("sum(rate(x_total[{{ window }}]))"), share, &["events-per-second rate"]);
    check_burn_rate("", &count("sum(rate(x_total[{{ window }}])) * 60"), share, &[]);
    check_burn_rate("", &events, &format!("100 * {share}"), &["share-in-percent /"]);
    let no_numerator = "sum(rate(x_total{a=\"b\"}[{{ window }}])) / sum(rate(x_total[{{ window }}]))";
    check_burn_rate("", &events, no_numerator, &["no-traffic /"]);
}

/// The deepest queries that the length allows must exhaust neither the stack nor the reader's patience.
#[test]
fn deep_nesting_is_survived() {
    let assumptions = Assumptions { scrape_interval: Duration::from_secs(15) };
    for query in [
        "-".repeat(4000) + "x",
        format!("{}x{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}x{}", "abs(".repeat(800), ")".repeat(800)),
        format!("{}x{}", "sum by(a)(".repeat(370), ")".repeat(370)),
        format!("{}x", "x/".repeat(2000)),
        format!("{}x{}", "x/(".repeat(1000), ")".repeat(1000)),
    ] {
        let file = SourceFile { name: "p".to_owned(), bytes: policy(&query, "max: 1").into_bytes() };
        let _found = warnings(&file, assumptions);
    }
}

/// Any query of these words.
fn query() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec![
        "x",
        "sum{by=\"rate(\"}",
        "x{a=\"b[1m]\"} offset 5m",
        "x @ start()",
        "# sum(\n up",
        "count:rate1m{a='/'}",
    ]);
    let window =
        prop::sample::select(vec!["x[1m]", "x{a=`}`}[30s]", "x[5m] offset 1d", "x[5m:15s]", "(x / y)[5m:]"]);
    let leaf = prop_oneof![
        selector.prop_map(str::to_owned),
        (prop::sample::select(vec!["rate", "max_over_time", "INCREASE"]), window)
            .prop_map(|(function, window)| format!("{}({window})", function.to_lowercase())),
        Just("1e-3".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let operator = prop::sample::select(vec![
            "/",
            "*",
            "-",
            ">",
            ">= bool",
            "==",
            "or",
            "and on (sum)",
            "/ ignoring (rate, by) group_left (avg)",
        ]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            (
                prop::sample::select(vec!["sum", "avg by (sum)", "topk(2, x) or max without (rate)"]),
                inner.clone()
            )
                .prop_map(|(aggregate, a)| format!("{aggregate} ({a})")),
            inner.clone().prop_map(|a| format!("quantile(0.9, {a}) by (rate)")),
            inner.clone().prop_map(|a| format!("histogram_quantile(0.5, {a})")),
            inner.prop_map(|a| format!("-abs({a})")),
        ]
    })
}

/// Each part that is warned of, with what stands at its place.
fn marked(expr: &Expr, marks: &Marks, text: &str, out: &mut Vec<(String, Option<String>)>) {
    let wanted = match expr {
        Expr::Aggregate(aggregate) => Some(aggregate.op.to_string()),
        Expr::Call(call) => Some(call.func.name.to_owned()),
        Expr::Binary(binary) if binary.op.is_comparison_operator() || binary.op.to_string() == "/" => {
            Some(binary.op.to_string())
        }
        Expr::MatrixSelector(_) | Expr::Subquery(_) => Some("[".to_owned()),
        _ => None,
    };
    if let Some(wanted) = wanted {
        let found = marks.of(expr).map(|at| text[at].to_owned());
        let found = found.map(|found| if wanted == "[" { found[..1].to_owned() } else { found });
        out.push((wanted, found));
    }
    for child in children(expr) {
        marked(child, marks, text, out);
    }
}

proptest! {
    /// The tree has no places; the text's order gives each part its own.
    #[test]
    fn every_part_is_found_in_the_text(text in query()) {
        let Ok(query) = Query::parse(&text) else { return Ok(()) };
        let mut parts = Vec::new();
        marked(&query.0, &Marks::find(&query.0, &text), &text, &mut parts);
        for (wanted, found) in parts {
            prop_assert_eq!(Some(wanted), found, "{}", text);
        }
    }
}
