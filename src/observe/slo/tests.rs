//! Every way in which a Prometheus, or what stands before it, can fail to give a number.

use std::collections::BTreeMap;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Form;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;
use tokio::net::TcpListener;

use super::*;
use crate::engine::action::Round;
use crate::engine::action::SloQuery;
use crate::engine::policy::{Part, Series};

const NOW: &str = "2026-11-20T10:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn prometheus(url: String) -> Prometheus {
    Prometheus::new(url, Duration::from_secs(5))
}

/// Serves one answer to every query.
async fn serve(
    answer: impl Fn(BTreeMap<String, String>) -> Response + Clone + Send + Sync + 'static,
) -> Prometheus {
    let handler = move |Form(query): Form<BTreeMap<String, String>>| async move { answer(query) };
    let router = Router::new().route("/prefix/api/v1/query", post(handler.clone()));
    start(router.route("/prefix/api/v1/query_range", post(handler))).await
}

async fn start(router: Router) -> Prometheus {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    prometheus(url)
}

/// The answer to a query that one number is wanted of.
pub(super) async fn one(slos: &Slos, server: &Prometheus) -> Reading {
    let mut found = slos.query(server, "up", Series::Refuse, None).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let (labels, reading) = found.remove(0);
    assert!(labels.is_empty(), "{labels:?}");
    reading
}

async fn reading(status: u16, body: &'static str) -> Reading {
    let server = serve(move |_| (http::StatusCode::from_u16(status).unwrap(), body).into_response()).await;
    one(&Slos::new().unwrap(), &server).await
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
    let partial = r#"{"status":"success","isPartial":true,"data":{"resultType":"scalar","result":[1,"2"]}}"#;
    check(200, partial, Err(Gap::Partial("the server says so".into()))).await;
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
async fn credentials_or_a_tenant_may_be_missing() {
    for (status, words) in [(401, "401 Unauthorized"), (403, "403 Forbidden")] {
        let why = format!("the server wants some, or a tenant (HTTP {words})");
        check(status, "no org id", Err(Gap::Credentials(why))).await;
    }
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let server = serve(|_| "x".repeat(ANSWER_BYTES_MAX + 1).into_response()).await;
    let reading = one(&Slos::new().unwrap(), &server).await;
    assert!(matches!(&reading, Reading::Gap(Gap::ServerError(why)) if why.contains("longer")), "{reading:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = serve(|_| Redirect::temporary("/elsewhere").into_response()).await;
    let reading = one(&Slos::new().unwrap(), &server).await;
    assert!(matches!(&reading, Reading::Gap(Gap::ServerError(why)) if why.contains("307")), "{reading:?}");
}

#[tokio::test]
async fn silence_times_out_and_a_closed_port_is_unreachable() {
    let hangs = Router::new().route("/prefix/api/v1/query", post(std::future::pending::<()>));
    let mut server = start(hangs).await;
    server.timeout = Duration::from_millis(50);
    let slos = Slos::new().unwrap();
    assert_eq!(one(&slos, &server).await, Reading::Gap(Gap::TimedOut));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = prometheus(format!("http://user:secret@{address}"));
    let reading = one(&slos, &server).await;
    assert!(
        matches!(&reading, Reading::Gap(Gap::Unreachable(why)) if why.contains("refused")),
        "{reading:?}"
    );
    assert!(!format!("{reading:?}").contains("secret"), "{reading:?}");

    let nowhere = one(&slos, &prometheus("not a url".into())).await;
    assert!(matches!(nowhere, Reading::Gap(Gap::Unreachable(_))), "{nowhere:?}");
}

/// The order's answers, in words.
async fn told(server: &Prometheus, when: When, queries: &[(&str, &str)]) -> Vec<String> {
    told_of(server, when, queries, Series::Refuse).await
}

async fn told_of(server: &Prometheus, when: When, queries: &[(&str, &str)], series: Series) -> Vec<String> {
    let query = |(slo, promql): &(&str, &str)| SloQuery {
        slo: (*slo).into(),
        part: Part::Value,
        series,
        promql: (*promql).into(),
    };
    let round = Round { began_at: now(), number: 1 };
    let order = MeasureOrder { round, when, queries: queries.iter().map(query).collect() };
    let answers = Slos::new().unwrap().measure(&order, server, now(), Duration::ZERO).await;
    let clock = |at: Timestamp| at.strftime("%H:%M:%S%.f").to_string();
    let told = answers.iter().map(|a| {
        let series = crate::engine::judge::slo::shown(&a.series);
        match &a.reading {
            Reading::Value(value) => format!("{}{series} {} {value}", a.slo, clock(a.at)),
            Reading::Gap(gap) => format!("{}{series} {} {gap}", a.slo, clock(a.at)),
        }
    });
    told.collect()
}

/// What an answer gives where each series is judged, in words.
async fn check_each(result: &str, expected: &[&str]) {
    let body = format!(r#"{{"status":"success","data":{result}}}"#);
    let server = serve(move |_| body.clone().into_response()).await;
    let told = told_of(&server, When::Now, &[("a", "up")], Series::Each).await;
    let expected: Vec<_> = expected.iter().map(|one| one.replace("AT", "10:00:00")).collect();
    assert_eq!(told, expected, "{result}");
}

fn vector(rows: &[String]) -> String {
    format!(r#"{{"resultType":"vector","result":[{}]}}"#, rows.join(","))
}

fn row_of(path: &str, value: &str) -> String {
    format!(r#"{{"metric":{{"path":"{path}"}},"value":[1,"{value}"]}}"#)
}

#[tokio::test]
async fn each_series_is_a_number_or_a_gap_by_its_labels() {
    let two = [row_of("/a", "1"), row_of("/b", "NaN")];
    check_each(&vector(&two), &[r#"a{path="/a"} AT 1"#, r#"a{path="/b"} AT NaN (as of 0/0: no traffic)"#])
        .await;
    check_each(r#"{"resultType":"scalar","result":[1,"2"]}"#, &["a AT 2"]).await;
    check_each(&vector(&[]), &["a AT no data: the query matched no series"]).await;
    let rows = |n: usize| (0..n).map(|i| row_of(&format!("/{i:02}"), "1")).collect::<Vec<_>>();
    let all: Vec<_> = (0..20).map(|i| format!(r#"a{{path="/{i:02}"}} AT 1"#)).collect();
    check_each(&vector(&rows(20)), &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    check_each(&vector(&rows(21)), &["a AT 21 series, and at most 20 are judged"]).await;
    let long = vector(&[row_of(&"x".repeat(997), "1")]);
    let why = "a AT the server refused the query: the labels of a series take 1001 bytes, and at most 1000 are kept; aggregate `by (…)` those that matter";
    check_each(&long, &[why]).await;
}

#[tokio::test]
async fn each_step_of_a_range_has_the_series_that_have_a_sample_there() {
    let row = |path: &str, values: &str| format!(r#"{{"metric":{{"path":"{path}"}},"values":[{values}]}}"#);
    // The second begins with the second step, and both are gone with the third.
    let body = matrix(&format!(
        "{},{}",
        row("/a", r#"[1795168800,"1"],[1795168815,"2"]"#),
        row("/b", r#"[1795168815,"+Inf"]"#)
    ));
    let server = serve(move |_| body.clone().into_response()).await;
    let told = told_of(&server, range("10:00:00", "10:00:30", 15), &[("a", "up")], Series::Each).await;
    let expected = [
        r#"a{path="/a"} 10:00:00 1"#,
        r#"a{path="/a"} 10:00:15 2"#,
        r#"a{path="/b"} 10:00:15 infinite (a division by zero)"#,
        "a 10:00:30 no data: the query matched no series",
    ];
    assert_eq!(told, expected);
    // What fails as a whole is a gap of each time, and of no series.
    let server = serve(|_| (http::StatusCode::SERVICE_UNAVAILABLE, "no").into_response()).await;
    let told = told_of(&server, range("10:00:00", "10:00:15", 15), &[("a", "up")], Series::Each).await;
    assert!(
        told.len() == 2 && told.iter().all(|one| one.starts_with("a 10:00:") && one.contains("503")),
        "{told:?}"
    );
}

#[tokio::test]
async fn an_order_for_now_gets_an_answer_for_each_query() {
    // Gives the query's own text back as the number.
    let server = serve(|query| {
        assert_eq!(query.get("time"), None, "the server's clock is meant");
        scalar(&query["query"])
    })
    .await;
    let answers = told(&server, When::Now, &[("a", "100"), ("b", "200")]).await;
    assert_eq!(answers, ["a 10:00:00 100", "b 10:00:00 200"]);
}

fn scalar(value: &str) -> Response {
    format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}"#)
        .into_response()
}

fn range(from: &str, to: &str, step: u64) -> When {
    let at = |clock| format!("2026-11-20T{clock}Z").parse().unwrap();
    When::Range { from: at(from), to: at(to), step: Duration::from_secs(step) }
}

fn matrix(rows: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{rows}]}}}}"#)
}

/// The seconds since 1970 of a form's field.
fn seconds(form: &BTreeMap<String, String>, field: &str) -> i64 {
    form[field].parse::<Timestamp>().unwrap().as_second()
}

#[tokio::test]
async fn an_order_for_a_range_is_sent_once_for_each_query() {
    // Gives the time's seconds, plus the query's own text.
    let server = serve(|query| {
        let step = query["step"].parse::<usize>().unwrap();
        let plus = query["query"].parse::<i64>().unwrap();
        let times = (seconds(&query, "start")..=seconds(&query, "end")).step_by(step);
        let values: Vec<_> = times.map(|at| format!("[{at},\"{}\"]", at % 60 + plus)).collect();
        matrix(&format!(r#"{{"metric":{{}},"values":[{}]}}"#, values.join(","))).into_response()
    })
    .await;
    let answers = told(&server, range("09:00:10", "09:00:45", 15), &[("a", "100"), ("b", "200")]).await;
    let expected = [
        "a 09:00:10 110",
        "a 09:00:25 125",
        "a 09:00:40 140",
        "b 09:00:10 210",
        "b 09:00:25 225",
        "b 09:00:40 240",
    ];
    assert_eq!(answers, expected);
}

/// Four steps from 10:00:00.5 on, which is 1795168800.5 since 1970, with this answer.
async fn check_range(body: &str, expected: [&str; 4]) {
    let sent = body.to_owned();
    let server = serve(move |_| sent.clone().into_response()).await;
    let answers = told(&server, range("10:00:00.5", "10:00:45.5", 15), &[("a", "up")]).await;
    let expected: Vec<_> = ["00.5", "15.5", "30.5", "45.5"]
        .iter()
        .zip(expected)
        .map(|(at, told)| format!("a 10:00:{at} {told}"))
        .collect();
    assert_eq!(answers, expected, "{body}");
}

#[tokio::test]
async fn each_step_of_a_range_is_a_number_or_a_gap() {
    const NONE: &str = "no data: the query matched no series";
    let nan = "NaN (as of 0/0: no traffic)";
    let infinite = "infinite (a division by zero)";
    let row = |values: &str| format!(r#"{{"metric":{{"pod":"{}"}},"values":[{values}]}}"#, values.len());
    // A step that is left out has no data, and takes no other step's value.
    let one = row(r#"[1795168800.5,"1"],[1795168830.5,"NaN"],[1795168845.5,"-Inf"]"#);
    check_range(&matrix(&one), ["1", NONE, nan, infinite]).await;
    let two = row(r#"[1795168815.5,"5"],[1795168830.5,"7"]"#);
    check_range(&matrix(&two), [NONE, "5", "7", NONE]).await;
    check_range(
        &matrix(&format!("{one},{two}")),
        ["1", "5", "2 series where one number is wanted", infinite],
    )
    .await;
    check_range(&matrix(""), [NONE; 4]).await;
    // A frontend moved the steps to multiples of their length.
    let moved = row(r#"[1795168800,"1"],[1795168815,"2"],[1795168830,"3"],[1795168845,"4"]"#);
    check_range(&matrix(&moved), ["1", "2", "3", "4"]).await;
}

#[tokio::test]
async fn a_gap_of_the_answer_is_one_of_each_step() {
    let row = r#"{"metric":{},"values":[[1795168800.5,"1"]]}"#;
    let partial = matrix(row).replace(r#""data""#, r#""warnings":["store-1 unavailable"],"data""#);
    check_range(&partial, ["a partial answer: store-1 unavailable"; 4]).await;
    let histogram = r#"{"metric":{},"histograms":[[1795168800.5,{"count":"2","sum":"3","buckets":[]}]]}"#;
    let why = "the server refused the query: it gives a native histogram, not a number; wrap it in histogram_quantile() or the like";
    check_range(&matrix(histogram), [why; 4]).await;
    let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
    let why = "the server failed: HTTP 200 OK: ";
    for (body, expected) in [
        (bad, "the server refused the query: parse error"),
        (r#"{"status":"error","errorType":"internal","error":"disk"}"#, &format!("{why}disk")),
        ("<html>", "the server failed: HTTP 200 OK, and its answer is not Prometheus' JSON"),
    ] {
        check_range(body, [expected; 4]).await;
    }
    let text = matrix(r#"{"metric":{},"values":[[1795168800.5,"one"]]}"#);
    let answer = serve(move |_| text.clone().into_response()).await;
    let told = told(&answer, range("10:00:00", "10:00:00", 15), &[("a", "up")]).await;
    assert!(told[0].contains(r#"invalid value: string "one", expected a number"#), "{told:?}");
}

#[tokio::test]
async fn a_long_range_is_asked_for_in_pieces() {
    // Two series, of which the second begins in the second piece; refuses what Prometheus refuses.
    let asked = Arc::new(Mutex::new(Vec::new()));
    let pieces = Arc::clone(&asked);
    let server = serve(move |query| {
        let (start, end) = (seconds(&query, "start"), seconds(&query, "end"));
        pieces.lock().unwrap().push((start, end));
        assert!((end - start) / 15 <= 11_000, "{query:?}");
        let mut rows = vec![format!(r#"{{"metric":{{"n":"1"}},"values":[[{start},"1"],[{end},"2"]]}}"#)];
        if pieces.lock().unwrap().len() == 2 {
            rows.push(format!(r#"{{"metric":{{"n":"0"}},"values":[[{end},"3"]]}}"#));
        }
        matrix(&rows.join(",")).into_response()
    })
    .await;
    let at = |second| Timestamp::from_second(second).unwrap();
    let (from, step, last) = (1_795_000_000, 15, 1_795_000_000 + 15 * 25_000);
    let slos = Slos::new().unwrap();
    let series = slos.range(&server, "up", at(from), at(last + 7), Duration::from_secs(step)).await.unwrap();
    // The pieces meet: one step lies between the end of one and the start of the next.
    let pieces = asked.lock().unwrap().clone();
    let expected =
        [(0, 10_999), (11_000, 21_999), (22_000, 25_000)].map(|(a, b)| (from + 15 * a, from + 15 * b));
    assert_eq!(pieces[..2], expected[..2]);
    assert_eq!(pieces[2], (expected[2].0, last + 7));
    let told: Vec<_> = series.iter().map(|s| (s.labels["n"].as_str(), s.samples.len())).collect();
    assert_eq!(told, [("0", 1), ("1", 6)]);
    assert!(series.iter().all(|s| s.samples.is_sorted_by_key(|(at, _)| *at)), "{series:?}");
}

#[tokio::test]
async fn one_piece_that_is_missing_is_a_gap_for_the_whole_range() {
    let server = serve(|query| {
        if seconds(&query, "start") > 1_795_000_000 {
            return (http::StatusCode::SERVICE_UNAVAILABLE, "no").into_response();
        }
        matrix(r#"{"metric":{},"values":[[1795000000,"1"]]}"#).into_response()
    })
    .await;
    let at = |second| Timestamp::from_second(second).unwrap();
    let range = Slos::new().unwrap();
    let range =
        range.range(&server, "up", at(1_795_000_000), at(1_795_020_000), Duration::from_secs(1)).await;
    assert!(matches!(&range, Err(Gap::ServerError(why)) if why.contains("503")), "{range:?}");
}
