//! Prometheus, as its client sees it.

use std::time::Duration;

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
