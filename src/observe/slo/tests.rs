//! Every way in which a Prometheus, or what stands before it, can fail to give a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Form, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;
use tokio::net::TcpListener;

use super::*;
use crate::engine::action::{Round, SloQuery};

const NOW: &str = "2026-11-20T10:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn prometheus(url: String) -> Prometheus {
    Prometheus { url, timeout: Duration::from_secs(5) }
}

/// Serves one answer to every query.
async fn serve(
    answer: impl Fn(BTreeMap<String, String>) -> Response + Clone + Send + Sync + 'static,
) -> Prometheus {
    let handler = move |Form(query): Form<BTreeMap<String, String>>| async move { answer(query) };
    start(Router::new().route("/prefix/api/v1/query", post(handler))).await
}

async fn start(router: Router) -> Prometheus {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    prometheus(url)
}

async fn reading(status: u16, body: &'static str) -> Reading {
    let server = serve(move |_| (http::StatusCode::from_u16(status).unwrap(), body).into_response()).await;
    Slos::new().unwrap().query(&server, "up", None).await
}

async fn check(status: u16, body: &'static str, expected: Result<f64, Gap>) {
    let expected = expected.map_or_else(Reading::Gap, Reading::Value);
    assert_eq!(reading(status, body).await, expected, "{status} {body}");
}

#[tokio::test]
async fn numbers() {
    let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1.5,"0.25"]}]}}"#;
    check(200, vector, Ok(0.25)).await;
    check(200, r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1e-3"]}}"#, Ok(0.001)).await;
    let infos = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]},"infos":["might not be a counter"],"warnings":[]}"#;
    check(200, infos, Ok(2.0)).await;
}

#[tokio::test]
async fn answers_that_are_no_number() {
    check(200, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, Err(Gap::NoData)).await;
    for (text, gap) in [("NaN", Gap::NotANumber), ("+Inf", Gap::Infinite), ("-Inf", Gap::Infinite)] {
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{text}"]}}}}"#);
        check(200, body.leak(), Err(gap)).await;
    }
    let two = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"2"]}]}}"#;
    check(200, two, Err(Gap::SeveralSeries(2))).await;
    let partial = r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["store-1 unavailable"]}"#;
    check(200, partial, Err(Gap::Partial("store-1 unavailable".into()))).await;
    let histogram = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"2","sum":"3","buckets":[]}]}]}}"#;
    assert!(
        matches!(reading(200, histogram).await, Reading::Gap(Gap::QueryRefused(why)) if why.contains("histogram"))
    );
    let string = r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#;
    check(200, string, Err(Gap::QueryRefused("it gives a string, not a number".into()))).await;
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    check(200, matrix, Err(Gap::QueryRefused("it gives a matrix, not a number".into()))).await;
}

#[tokio::test]
async fn refusals_and_failures() {
    let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#;
    check(400, bad, Err(Gap::QueryRefused("parse error: unexpected end".into()))).await;
    check(503, r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#, Err(Gap::TimedOut))
        .await;
    for (status, body) in [
        (200, "<html>Log in</html>"),
        (200, ""),
        (200, r#"{"status":"success"}"#),
        (200, r#"{"status":"success","data":{"resultType":"vector","result":7}}"#),
        (200, r#"{"status":"success","data":{"resultType":"scalar","result":[1,"one"]}}"#),
        (401, "no"),
        (404, "404 page not found"),
        (422, r#"{"status":"error","errorType":"execution","error":"expanding series: rpc error"}"#),
        (429, r#"{"status":"error","errorType":"too_many_requests","error":"slow down"}"#),
        (500, r#"{"status":"error","errorType":"internal","error":"disk"}"#),
        (502, "<html>Bad gateway</html>"),
        (500, r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#),
    ] {
        let reading = reading(status, body).await;
        assert!(matches!(reading, Reading::Gap(Gap::ServerError(_))), "{status} {body}: {reading:?}");
    }
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let server = serve(|_| "x".repeat(ANSWER_BYTES_MAX + 1).into_response()).await;
    let reading = Slos::new().unwrap().query(&server, "up", None).await;
    assert!(matches!(&reading, Reading::Gap(Gap::ServerError(why)) if why.contains("longer")), "{reading:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = serve(|_| Redirect::temporary("/elsewhere").into_response()).await;
    let reading = Slos::new().unwrap().query(&server, "up", None).await;
    assert!(matches!(&reading, Reading::Gap(Gap::ServerError(why)) if why.contains("307")), "{reading:?}");
}

#[tokio::test]
async fn silence_times_out_and_a_closed_port_is_unreachable() {
    let hangs = Router::new().route("/prefix/api/v1/query", post(std::future::pending::<()>));
    let mut server = start(hangs).await;
    server.timeout = Duration::from_millis(50);
    let slos = Slos::new().unwrap();
    assert_eq!(slos.query(&server, "up", None).await, Reading::Gap(Gap::TimedOut));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = prometheus(format!("http://user:secret@{address}"));
    let reading = slos.query(&server, "up", None).await;
    assert!(
        matches!(&reading, Reading::Gap(Gap::Unreachable(why)) if why.contains("refused")),
        "{reading:?}"
    );
    assert!(!format!("{reading:?}").contains("secret"), "{reading:?}");

    let nowhere = slos.query(&prometheus("not a url".into()), "up", None).await;
    assert!(matches!(nowhere, Reading::Gap(Gap::Unreachable(_))), "{nowhere:?}");
}

#[tokio::test]
async fn an_order_gets_an_answer_for_each_query_and_time() {
    // Gives the query's own text back as the number, plus the time's seconds.
    let server = serve(|query| {
        let seconds = query.get("time").map_or(0, |time| time.parse::<Timestamp>().unwrap().as_second() % 60);
        let value = query["query"].parse::<i64>().unwrap() + seconds;
        format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}"#)
            .into_response()
    })
    .await;
    let query = |slo: &str, promql: &str| SloQuery { slo: slo.into(), promql: promql.into() };
    let mut order = MeasureOrder {
        round: Round { began_at: now(), number: 1 },
        times: vec!["2026-11-20T09:00:10.5Z".parse().unwrap(), "2026-11-20T09:00:20Z".parse().unwrap()],
        queries: vec![query("a", "100"), query("b", "200")],
    };
    let slos = Slos::new().unwrap();
    let told = |answers: Vec<SloAnswer>| -> Vec<String> {
        answers.iter().map(|a| format!("{} {} {:?}", a.slo, a.at, a.reading)).collect()
    };
    assert_eq!(
        told(slos.measure(&order, &server, now()).await),
        [
            "a 2026-11-20T09:00:10.5Z Value(110.0)",
            "a 2026-11-20T09:00:20Z Value(120.0)",
            "b 2026-11-20T09:00:10.5Z Value(210.0)",
            "b 2026-11-20T09:00:20Z Value(220.0)",
        ]
    );
    order.times.clear();
    assert_eq!(
        told(slos.measure(&order, &server, now()).await),
        ["a 2026-11-20T10:00:00Z Value(100.0)", "b 2026-11-20T10:00:00Z Value(200.0)"]
    );
}

#[tokio::test]
async fn few_queries_are_on_their_way_at_once() {
    #[derive(Clone, Default)]
    struct Load {
        now: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }
    async fn slow(State(load): State<Load>) -> &'static str {
        let now = load.now.fetch_add(1, Ordering::SeqCst) + 1;
        load.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        load.now.fetch_sub(1, Ordering::SeqCst);
        r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#
    }
    let load = Load::default();
    let server =
        start(Router::new().route("/prefix/api/v1/query", post(slow)).with_state(load.clone())).await;
    let order = MeasureOrder {
        round: Round { began_at: now(), number: 1 },
        times: Vec::new(),
        queries: (0..12).map(|n| SloQuery { slo: format!("s{n}"), promql: "up".into() }).collect(),
    };
    let answers = Slos::new().unwrap().measure(&order, &server, now()).await;
    assert!(answers.iter().all(|answer| answer.reading == Reading::Value(1.0)), "{answers:?}");
    assert_eq!(load.most.load(Ordering::SeqCst), CONCURRENT_MAX);
}
