//! Prometheus, as its client sees it.

use std::time::Duration;

use jiff::Timestamp;
use lastgood::engine::policy::Part;
use lastgood::sandbox::prometheus::Fault;

use crate::world::World;

const ERROR_RATIO: &str = r#"sum(rate(http_requests_total{app="shop",code=~"5.."}[5s])) / sum(rate(http_requests_total{app="shop"}[5s]))"#;

#[tokio::test]
async fn an_errors_tag_raises_the_error_ratio() {
    let world = World::new().await;
    assert_eq!(world.measure(ERROR_RATIO).await, None);
    world.seconds(10);
    let good = world.measure(ERROR_RATIO).await.unwrap();
    assert!(good < 0.01, "{good}");
    world.deploy("v2-errors");
    world.seconds(12);
    let bad = world.measure(ERROR_RATIO).await.unwrap();
    assert!((0.25..0.35).contains(&bad), "{bad}");
    // Nothing in the rollout shows it.
    assert_eq!(world.app("/status/health/status"), "Healthy");

    // What was true before can still be asked.
    let before = world.sandbox.clock().now().as_second() - 12;
    let answer = world.prometheus().query(ERROR_RATIO).at(before).get().await.unwrap();
    assert!(answer.data().as_vector().unwrap()[0].sample().value() < 0.01);
    world.deploy("v1");
    world.seconds(12);
    assert!(world.measure(ERROR_RATIO).await.unwrap() < 0.01);
}

#[tokio::test]
async fn promql_is_evaluated_as_prometheus_does() {
    let world = World::new().await;
    world.seconds(20);
    for (query, expected) in [
        ("1 + 2 * 3", Some(7.0)),
        ("2 > bool 1", Some(1.0)),
        ("vector(1) > 2", None),
        (r#"sum(rate(none[5s])) or vector(0)"#, Some(0.0)),
        (r#"count(http_requests_total{code!="200", pod!~"x.*"})"#, Some(3.0)),
        (r#"count(sum by (code) (http_requests_total))"#, Some(2.0)),
        (r#"count(sum without (pod, code) (http_requests_total))"#, Some(1.0)),
        (r#"count(http_requests_total unless http_requests_total{code="500"})"#, Some(3.0)),
        (
            r#"count(sum by (pod) (http_requests_total) > on (pod) sum by (pod) (http_requests_total{code="500"}))"#,
            Some(3.0),
        ),
        ("sum(http_requests_total offset 1h)", None),
    ] {
        assert_eq!(world.measure(query).await, expected, "{query}");
    }
    let rate = world.measure("sum(rate(http_requests_total[10s]))").await.unwrap();
    assert!((rate - 60.0).abs() < 2.0, "{rate}");
    assert!(world.measure("vector(0) / 0").await.unwrap().is_nan());

    for (query, expected) in [
        ("histogram_quantile(0.9, http_requests_total)", "histogram_quantile()"),
        ("topk(1, http_requests_total)", "topk()"),
        ("rate(http_requests_total[5s:1s])", "rate()"),
        (
            "http_requests_total + http_requests_total offset 1s * on(pod) group_left http_requests_total",
            "group_left",
        ),
    ] {
        let error = world.prometheus().query(query).post().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }
    assert!(world.prometheus().query("sum(").get().await.is_err());
}

#[tokio::test]
async fn prometheus_fails_when_asked_to() {
    let world = World::new().await;
    world.seconds(10);
    world.sandbox.prometheus.set_fault(Fault::NoTargets);
    world.seconds(6);
    assert_eq!(world.measure("sum(http_requests_total)").await, None);
    world.sandbox.prometheus.set_fault(Fault::Unavailable);
    assert!(world.prometheus().query("1").get().await.is_err());
    world.sandbox.prometheus.set_fault(Fault::Slow(Duration::from_secs(60)));
    let waited = tokio::time::timeout(Duration::from_millis(50), world.prometheus().query("1").get()).await;
    assert!(waited.is_err());
}

/// What the stand-in answers to a range query, as text.
async fn ranged(world: &World, query: &str, from: f64, to: f64, step: &str) -> String {
    let (start, end) = (from.to_string(), to.to_string());
    let form = [("query", query), ("start", &start), ("end", &end), ("step", step)];
    let url = format!("{}/api/v1/query_range", world.sandbox.prometheus_url());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.post(url).form(&form).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_range_is_evaluated_step_by_step_as_prometheus_does() {
    let world = World::new().await;
    world.seconds(20);
    world.sandbox.prometheus.set_fault(Fault::NoTargets);
    world.seconds(10);
    world.sandbox.prometheus.set_fault(Fault::None);
    world.seconds(10);
    // The answers and the words of refusals are those of Prometheus 2.42.
    let now = world.sandbox.clock().now().duration_since(Timestamp::UNIX_EPOCH).as_secs_f64();
    let matrix =
        |rows: &str| format!(r#"{{"data":{{"result":[{rows}],"resultType":"matrix"}},"status":"success"}}"#);
    let t = |before: f64| now - before;
    let scalar = format!(r#"{{"metric":{{}},"values":[[{},"7"],[{},"7"]]}}"#, t(5.0), t(2.0));
    assert_eq!(ranged(&world, "7", t(5.0), t(0.0), "3s").await, matrix(&scalar));
    let nan = format!(r#"{{"metric":{{}},"values":[[{},"NaN"]]}}"#, t(5.0));
    assert_eq!(ranged(&world, "vector(0) / 0", t(5.0), t(5.0), "1").await, matrix(&nan));
    assert_eq!(ranged(&world, "none", t(5.0), t(0.0), "1").await, matrix(""));
    // A step at which the series had ended is left out, and none is filled in from the steps before.
    let pods = ranged(&world, "count(http_requests_total)", t(25.0), t(0.0), "5").await;
    let values = [25.0, 20.0, 5.0, 0.0].map(|before| format!(r#"[{},"6"]"#, t(before))).join(",");
    assert_eq!(pods, matrix(&format!(r#"{{"metric":{{}},"values":[{values}]}}"#)));
    for (query, to, step, expected) in [
        ("1", 9.0, "1", "invalid parameter \\\"end\\\": end timestamp must not be before start time"),
        (
            "1",
            0.0,
            "0",
            "invalid parameter \\\"step\\\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        ("1", 0.0, "often", "invalid parameter \\\"step\\\": cannot parse \\\"often\\\" to a valid duration"),
        (
            "1",
            0.0,
            "0.0001",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "up[1m]",
            0.0,
            "1",
            "invalid expression type \\\"range vector\\\" for range query, must be Scalar or instant Vector",
        ),
    ] {
        let told = ranged(&world, query, t(5.0), t(to), step).await;
        assert_eq!(told, format!(r#"{{"error":"{expected}","errorType":"bad_data","status":"error"}}"#));
    }
}

#[tokio::test]
async fn a_preset_tells_silence_from_health_and_no_error_from_no_answer() {
    let text = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: shop }\nprometheus: { url: http://p }\npreset: { kind: http, metrics: plain, window: 10s, maxErrors: 0.05 }\nrollback: { mode: dry-run }\n";
    let policy = lastgood::policy::read("p.yaml", text.as_bytes()).unwrap().policy;
    let values = [("namespace", "shop"), ("application", "shop")].into_iter().collect();
    let query = policy.slos[0].query.render(&values, None).unwrap();
    // Only good requests: the series of errors is not there.
    let no_errors = query.replace("5..", "599");
    let world = World::new().await;
    assert_eq!(world.measure(&query).await, None, "before the first request");
    world.seconds(12);
    assert_eq!(world.measure(&no_errors).await, Some(0.0));
    assert!(world.measure(&query).await.unwrap() < 0.01);
    world.deploy("v2-errors");
    world.seconds(20);
    assert!(world.measure(&query).await.unwrap() > 0.25);
    world.sandbox.prometheus.set_fault(Fault::NoTargets);
    world.seconds(15);
    assert_eq!(world.measure(&query).await, None, "nothing was scraped");
    assert_eq!(world.measure(&no_errors).await, None);
}

#[tokio::test]
async fn a_burn_rate_gets_its_share_and_its_events() {
    let text = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: shop }\nprometheus: { url: http://p }\npreset: { kind: http, metrics: plain, window: 10s }\nrollback: { mode: dry-run }\n";
    let policy = lastgood::policy::read("p.yaml", text.as_bytes()).unwrap().policy;
    let values = [("namespace", "shop"), ("application", "shop")].into_iter().collect();
    let query = |part: &Part| policy.slos[0].render(*part, &values).unwrap();
    let queries: Vec<String> = policy.slos[0].parts().iter().map(query).collect();
    let [share, events] = queries.as_slice() else { panic!("{queries:?}") };
    let world = World::new().await;
    world.seconds(12);
    // Sixty requests a second.
    let counted = world.measure(events).await.unwrap();
    assert!((counted - 600.0).abs() < 30.0, "{counted}");
    assert!(world.measure(share).await.unwrap() < 0.01);
    world.deploy("v2-errors");
    world.seconds(20);
    assert!((0.25..0.35).contains(&world.measure(share).await.unwrap()));
}
