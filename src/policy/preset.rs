//! Presets: SLOs for the metrics that everybody has. A preset stands for plain SLOs, written here and nowhere else.
//!
//! Names and labels are those of Istio's *Standard Metrics*, Linkerd's *Proxy Metrics* and Traefik's *Metrics overview*; those
//! of ingress-nginx, of Envoy's clusters as Envoy Gateway names them and of danihodovic/celery-exporter are as public
//! dashboards use them; the plain ones are the Prometheus client libraries' conventions and go-grpc-middleware's.

use std::collections::BTreeMap;
use std::time::Duration;

use humantime::format_duration;

use super::check::{Report, keys};
use super::duration::Span;
use super::file::{BurnRate, Comparison, Metrics, PolicyFile, Preset, PresetKind, Slo, Windows, Worse};
use super::promql::Query;
use super::set::SourceFile;
use super::share::Share;
use super::slo::rounds;
use super::structure;
use crate::engine::judge::slo::comparison::SETTLE;
use crate::engine::template::{BUILT_IN, Template};

/// The name of a preset's SLO for the share of failures.
pub const ERRORS: &str = "error-rate";
/// The name of a preset's SLO for the time that requests take.
pub const LATENCY: &str = "latency-p99";
/// Of one request in a hundred there are too few in a window to compare them well.
const COMPARED_LATENCY: &str = "latency-p95";

/// Of how many measurements how many must fail. A slow answer is commoner than a failed one, so it takes more.
const ERRORS_STRIKES: (u32, u32) = (3, 5);
const LATENCY_STRIKES: (u32, u32) = (4, 6);

/// The objective that is taken where none is named: the usual three nines.
const OBJECTIVE: Share = Share(0.999);

/// How many short windows the long one is, as far as the analysis lasts so long.
const LONG: u32 = 5;

/// A latency that is worse than before: by half, and by what people feel.
const LATENCY_TOLERANCE: Share = Share(0.5);
const LATENCY_CHANGE: f64 = 0.05;

/// The shortest window: two scrapes of the densest kind.
const WINDOW_MIN: Duration = Duration::from_secs(10);

/// The codes of gRPC that are the server's fault, by `OpenTelemetry`'s semantic conventions for RPC spans.
const GRPC_CODES: &str = "Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss";
/// The same as numbers.
const GRPC_NUMBERS: &str = "2|4|12|13|14|15";

/// The series of one kind of metrics.
struct Series {
    /// Counters that together count everything.
    all: &'static [&'static str],
    /// Matchers that always belong to them.
    always: &'static str,
    /// The counter of failures, and the matcher that makes it that.
    failed: (&'static str, String),
    /// The histogram of durations.
    durations: &'static str,
    /// What a second is in it.
    per_second: f64,
    /// Which of them are the application's, unless the policy says.
    selector: &'static str,
}

/// The series for a preset; none where these metrics do not tell.
fn series(kind: PresetKind, metrics: Metrics) -> Option<Series> {
    let fivexx = |label: &str| format!(r#"{label}=~"5..""#);
    let workload =
        r#"destination_workload_namespace="{{ namespace }}", destination_workload="{{ application }}""#;
    let deployment = r#"namespace="{{ namespace }}", deployment="{{ application }}""#;
    let plain = r#"namespace="{{ namespace }}", app="{{ application }}""#;
    let series = |all, always, failed, durations, per_second, selector| {
        let counter = *(all as &'static [&'static str]).first()?;
        Some(Series { all, always, failed: (counter, failed), durations, per_second, selector })
    };
    match (kind, metrics) {
        (PresetKind::Http, Metrics::Istio) => series(
            &["istio_requests_total"],
            r#"reporter="destination""#,
            fivexx("response_code"),
            "istio_request_duration_milliseconds_bucket",
            1000.0,
            workload,
        ),
        (PresetKind::Grpc, Metrics::Istio) => series(
            &["istio_requests_total"],
            r#"reporter="destination", request_protocol="grpc""#,
            format!(r#"grpc_response_status=~"{GRPC_NUMBERS}""#),
            "istio_request_duration_milliseconds_bucket",
            1000.0,
            workload,
        ),
        // It classifies by HTTP's status and by gRPC's.
        (PresetKind::Http | PresetKind::Grpc, Metrics::Linkerd) => series(
            &["response_total"],
            r#"direction="inbound""#,
            r#"classification="failure""#.to_owned(),
            "response_latency_ms_bucket",
            1000.0,
            deployment,
        ),
        (PresetKind::Http, Metrics::IngressNginx) => series(
            &["nginx_ingress_controller_requests"],
            "",
            fivexx("status"),
            "nginx_ingress_controller_request_duration_seconds_bucket",
            1.0,
            r#"ingress="{{ application }}""#,
        ),
        (PresetKind::Http, Metrics::Traefik) => series(
            &["traefik_service_requests_total"],
            "",
            fivexx("code"),
            "traefik_service_request_duration_seconds_bucket",
            1.0,
            r#"service=~"{{ namespace }}-{{ application }}-.*@kubernetes.*""#,
        ),
        (PresetKind::Http, Metrics::EnvoyGateway) => series(
            &["envoy_cluster_upstream_rq_xx"],
            "",
            r#"envoy_response_code_class="5""#.to_owned(),
            "envoy_cluster_upstream_rq_time_bucket",
            1000.0,
            r#"envoy_cluster_name=~"httproute/{{ namespace }}/{{ application }}/rule/.*""#,
        ),
        (PresetKind::Http, Metrics::Plain) => series(
            &["http_requests_total"],
            "",
            fivexx("code"),
            "http_request_duration_seconds_bucket",
            1.0,
            plain,
        ),
        (PresetKind::Grpc, Metrics::Plain) => series(
            &["grpc_server_handled_total"],
            "",
            format!(r#"grpc_code=~"{GRPC_CODES}""#),
            "grpc_server_handling_seconds_bucket",
            1.0,
            plain,
        ),
        (PresetKind::Worker, Metrics::Celery) => series(
            &["celery_task_failed_total", "celery_task_succeeded_total"],
            "",
            String::new(),
            "celery_task_runtime_bucket",
            1.0,
            r#"queue_name="{{ application }}""#,
        ),
        (
            PresetKind::Grpc,
            Metrics::IngressNginx | Metrics::Traefik | Metrics::EnvoyGateway | Metrics::Celery,
        )
        | (PresetKind::Http, Metrics::Celery)
        | (
            PresetKind::Worker,
            Metrics::Istio
            | Metrics::Linkerd
            | Metrics::IngressNginx
            | Metrics::Traefik
            | Metrics::EnvoyGateway
            | Metrics::Plain,
        ) => None,
    }
}

/// All presets, those first that see more of what they are for: Istio counts calls of gRPC among the requests of HTTP, but
/// not whether they failed.
pub fn known() -> Vec<(PresetKind, Metrics)> {
    use Metrics::{Celery, EnvoyGateway, IngressNginx, Istio, Linkerd, Plain, Traefik};
    let all = [Istio, Linkerd, Plain, IngressNginx, Traefik, EnvoyGateway, Celery];
    let kinds = [PresetKind::Http, PresetKind::Grpc, PresetKind::Worker];
    let pairs = kinds.into_iter().flat_map(|kind| all.map(|metrics| (kind, metrics)));
    let first = (PresetKind::Grpc, Istio);
    let others = pairs.filter(|pair| *pair != first && series(pair.0, pair.1).is_some());
    std::iter::once(first).chain(others).collect()
}

/// All SLOs of a policy: its own, and those of its preset that it has not replaced by one of the same name.
pub(super) fn slos(file: &PolicyFile) -> Vec<Slo> {
    let mut all = file.slos.clone();
    let preset = file.preset.iter().flat_map(|preset| expand(preset, file.analysis.duration));
    let added: Vec<_> = preset.filter(|slo| all.iter().all(|own| own.name != slo.name)).collect();
    all.extend(added);
    all
}

/// The plain SLOs that a preset stands for.
fn expand(preset: &Preset, analysis: Span) -> Vec<Slo> {
    let Some(series) = series(preset.kind, preset.metrics) else { return Vec::new() };
    let selector = preset.selector.as_deref().unwrap_or(series.selector);
    let over = |function: &str, metric: &str, more: &str, window: &str| {
        let matchers = [selector.trim(), series.always, more];
        let matchers: Vec<_> = matchers.into_iter().filter(|text| !text.is_empty()).collect();
        format!("{function}({metric}{{{}}}[{window}])", matchers.join(", "))
    };
    let all = |function: &str, window: &str| {
        let all: Vec<_> =
            series.all.iter().map(|metric| format!("sum({})", over(function, metric, "", window))).collect();
        match all.as_slice() {
            [one] => one.clone(),
            // A counter that has not begun is none of a sum's parts.
            several => {
                let parts: Vec<_> = several.iter().map(|part| format!("({part} or vector(0))")).collect();
                format!("({})", parts.join(" + "))
            }
        }
    };
    // Silence is not health: without traffic there is no answer. Before the first failure there is no series of failures,
    // which is none, and not no answer.
    let errors = |window: &str| {
        let (failures, of_failures) = &series.failed;
        let failed = over("rate", failures, of_failures, window);
        format!("(sum({failed}) or vector(0))\n  / ({} > 0)", all("rate", window))
    };
    let (fixed, filled) = (preset.window.to_string(), "{{ window }}");
    let mut slos = vec![match preset.max_errors {
        Some(max) => limit(ERRORS, errors(&fixed), max, ERRORS_STRIKES),
        None => {
            let objective = preset.objective.unwrap_or(OBJECTIVE);
            let rule = BurnRate {
                objective,
                events: Some(all("increase", filled)),
                minimum_errors: None,
                windows: vec![Windows {
                    short: preset.window,
                    long: long(preset, analysis),
                    ..Windows::default()
                }],
            };
            Slo { burn_rate: Some(rule), ..slo(ERRORS, errors(filled)) }
        }
    }];
    let latency = |quantile: &str| {
        let buckets = over("rate", series.durations, "", &fixed);
        format!("histogram_quantile({quantile},\n  sum by (le) ({buckets}))")
    };
    if let Some(most) = preset.max_latency {
        slos.push(limit(LATENCY, latency("0.99"), most.0.as_secs_f64() * series.per_second, LATENCY_STRIKES));
    } else if preset.compare_latency {
        let rule = Comparison {
            worse: Worse::Increase,
            tolerance: LATENCY_TOLERANCE,
            minimum_change: Some(LATENCY_CHANGE * series.per_second),
            also: Vec::new(),
        };
        slos.push(Slo { comparison: Some(rule), ..slo(COMPARED_LATENCY, latency("0.95")) });
    }
    slos
}

/// The long window of the error budget.
fn long(preset: &Preset, analysis: Span) -> Span {
    Span(preset.window.0.saturating_mul(LONG)).min(analysis)
}

fn limit(name: &str, query: String, max: f64, (failures, of): (u32, u32)) -> Slo {
    Slo { max: Some(max), failures: Some(failures), of: Some(of), ..slo(name, query) }
}

fn slo(name: &str, query: String) -> Slo {
    Slo {
        name: name.to_owned(),
        query,
        max: None,
        min: None,
        true_is: None,
        comparison: None,
        burn_rate: None,
        series: None,
        fail_after_missing: None,
        failures: None,
        of: None,
    }
}

/// Finds what makes no sense about the preset.
pub(super) fn check(file: &PolicyFile, report: &mut Report) {
    let Some(preset) = &file.preset else { return };
    let path = |field: &str| keys(&["preset", field]);
    if series(preset.kind, preset.metrics).is_none() {
        let (kind, metrics) = (String::from(preset.kind), String::from(preset.metrics));
        let message = format!("the metrics of `{metrics}` do not tell how a `{kind}` is doing");
        let help = match preset.kind {
            PresetKind::Http => {
                "take those of `istio`, `linkerd`, `ingress-nginx`, `traefik`, `envoy-gateway` or `plain`"
            }
            PresetKind::Grpc => "take those of `istio`, `linkerd` or `plain`",
            PresetKind::Worker => "take those of `celery`, or write the queries under `slos`",
        };
        report.add(&path("metrics"), message, help);
    }
    if let Some(errors) = preset.max_errors.filter(|errors| !(*errors > 0.0 && *errors < 1.0)) {
        let message = format!("`{errors}` is not a share of requests that may fail");
        report.add(&path("maxErrors"), message, "more than 0 and less than 1; 0.05 is 5 %");
    }
    if let Some(objective) = preset.objective.filter(|objective| !(objective.0 > 0.0 && objective.0 < 1.0)) {
        let message = format!("`{objective}` is no objective that leaves an error budget");
        report.add(&path("objective"), message, "more than 0 and less than 100%, such as `99.9%`");
    }
    for (one, other, both) in [
        ("objective", "maxErrors", preset.objective.is_some() && preset.max_errors.is_some()),
        ("compareLatency", "maxLatency", preset.compare_latency && preset.max_latency.is_some()),
    ] {
        if both {
            report.add(&path(one), format!("`{one}` and `{other}` are two rules for the same"), "give one");
        }
    }
    if preset.max_latency.is_some_and(|most| most.0.is_zero()) {
        report.add(&path("maxLatency"), "nothing takes no time", "leave it out to judge errors alone");
    }
    let (window, analysis) = (preset.window, &file.analysis);
    if window.0 < WINDOW_MIN || window > analysis.duration {
        let message = format!("a window of {window} does not fit an analysis of {}", analysis.duration);
        report.add(&path("window"), message, "at least four scrapes, and at most the analysis");
    }
    // A value counts once its window lies after the time that good revisions need to settle.
    let statistical = preset.max_errors.is_none() || preset.compare_latency;
    if statistical && window.0.saturating_add(SETTLE) >= analysis.duration.0 {
        let settle = format_duration(SETTLE);
        let message = format!(
            "an analysis of {} is too short: the first {settle} after the sync do not count, and a window of {window} comes on top",
            analysis.duration
        );
        let help = "lengthen `analysis.duration`, or judge by limits: `maxErrors`, `maxLatency`";
        report.add(&keys(&["preset"]), message, help);
    } else if statistical {
        rounds(file, &keys(&["preset"]), report);
    }
    let most = LATENCY_STRIKES.1;
    let limits = preset.max_errors.is_some() || preset.max_latency.is_some();
    if limits
        && analysis.interval <= analysis.duration
        && analysis.interval.0.saturating_mul(most) > analysis.duration.0
    {
        let message = format!(
            "{most} measurements, one each {}, take longer than the analysis ({})",
            analysis.interval, analysis.duration
        );
        report.add(&keys(&["preset"]), message, "lower `analysis.interval`, or lengthen the analysis");
    }
    if let Some(selector) = &preset.selector
        && let Err(why) = matchers(selector, &file.variables)
    {
        let help = "write label matchers with commas between, such as `namespace=\"{{ namespace }}\", app=\"{{ application }}\"`";
        report.add(&path("selector"), format!("these are no label matchers: {why}"), help);
    }
}

/// Whether a text is what stands between the braces of a selector.
fn matchers(selector: &str, variables: &BTreeMap<String, String>) -> Result<(), String> {
    let template = Template::parse(&format!("x{{{selector}}}")).map_err(|error| error.to_string())?;
    let mut values: BTreeMap<&str, &str> = BUILT_IN.map(|name| (name, "sample")).into_iter().collect();
    values.extend(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let text = template.render(&values, None)?;
    if selector.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    Query::parse(&text)?.is_selector().then_some(()).ok_or_else(|| "it closes the braces".to_owned())
}

/// What the preset of a policy file stands for, as the YAML that one would write instead of it.
pub fn written_out(file: &SourceFile) -> Option<String> {
    let text = std::str::from_utf8(&file.bytes).ok()?;
    let policy = structure::read(&file.name, text).policy?;
    policy.preset.as_ref()?;
    let added = slos(&policy);
    let mut yaml = String::from("slos:\n");
    for slo in added.iter().skip(policy.slos.len()) {
        let query = slo.query.replace('\n', "\n      ");
        yaml += &format!("  - name: {}\n    query: |\n      {query}\n", slo.name);
        if let Some(max) = slo.max {
            let (failures, of) = slo.strikes();
            yaml += &format!("    max: {max}\n    failures: {failures}\n    of: {of}\n");
        }
        if let Some(Comparison { tolerance, minimum_change, .. }) = &slo.comparison {
            let change = minimum_change.unwrap_or_default();
            yaml += &format!(
                "    comparison:\n      worse: increase\n      tolerance: {tolerance}\n      minimumChange: {change}\n"
            );
        }
        if let Some(rule) = &slo.burn_rate {
            let events = rule.events.as_deref().unwrap_or_default();
            yaml += &format!(
                "    burnRate:\n      objective: {}\n      events: |-\n        {events}\n",
                rule.objective
            );
            yaml += "      windows:\n";
            for Windows { long, short, factor } in &rule.windows {
                yaml += &format!("        - {{ long: {long}, short: {short}, factor: {factor} }}\n");
            }
        }
    }
    Some(yaml)
}
