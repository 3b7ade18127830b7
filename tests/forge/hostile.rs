//! Answers that are wrong, late, too large or elsewhere.

use super::*;

const FIND: &str = "GET /api/v3/repos/acme/shop/pulls?head=acme%3Alastgood%2Fargocd-shop-0123abcd&base=main&state=all&per_page=10";

fn answered(status: u16, headers: &str, answer: &str) -> ForgeError {
    let exchange =
        format!(r#"[{{"ask": "{FIND}", "status": {status}, "headers": {headers}, "answer": {answer}}}]"#);
    tend(ForgeKind::GitHub, &exchange, &proposal(), false).unwrap_err()
}

#[test]
fn failures_are_told_apart_and_hold_no_token() {
    for (status, headers, answer, expected) in [
        (401, "{}", r#"{"message": "Bad credentials"}"#, "not authorised at"),
        (403, "{}", r#"{"message": "Resource not accessible by integration"}"#, "not authorised at"),
        (403, "{}", r#"{"message": "API rate limit exceeded for user ID 1."}"#, "no answer from"),
        (429, r#"{"retry-after": "60"}"#, "null", "no answer from"),
        (404, "{}", r#"{"message": "Not Found"}"#, "not found at"),
        (502, "{}", "null", "no answer from"),
        (409, "{}", r#"{"message": "t0ken is bad"}"#, "declined: it answered 409 Conflict: *** is bad"),
        (200, "{}", r#"{"message": "not a list"}"#, "a list was expected"),
        (
            200,
            "{}",
            r#"[{"head": {"ref": "lastgood/argocd-shop-0123abcd"}}]"#,
            "lacks its number, URL or state",
        ),
    ] {
        let error = answered(status, headers, answer).to_string();
        assert!(error.contains(expected) && !error.contains(TOKEN), "{error}");
    }
}

#[test]
fn a_redirect_to_another_host_is_not_followed() {
    let error = answered(301, r#"{"location": "http://localhost:1/elsewhere"}"#, "null");
    assert!(error.to_string().contains("redirects to another place"), "{error}");
}

#[test]
fn a_renamed_repository_is_found() {
    let exchanges = format!(
        r#"[{{"ask": "{FIND}", "status": 301, "headers": {{"location": "/api/v3/repositories/42/pulls?head=x"}}}},
            {{"ask": "GET /api/v3/repositories/42/pulls?head=x", "status": 200, "answer": []}}]"#
    );
    let found = with(ForgeKind::GitHub, &exchanges, async |forge| forge.withdraw(&proposal(), "").await);
    assert_eq!(found, Ok(None));
}

#[test]
fn an_answer_without_end_is_given_up() {
    lastgood::act::git::Git::init().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let endless = || futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65536]));
        let router =
            axum::Router::new().fallback(move || async move { axum::body::Body::from_stream(endless()) });
        tokio::spawn(async move { axum::serve(listener, router).await });
        forge(ForgeKind::GitHub, &url).tend(&proposal(), false).await.unwrap_err()
    });
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[test]
fn a_forge_that_never_answers_is_given_up() {
    lastgood::act::git::Git::init().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async {
        // Its backlog takes the connection, and nobody reads from it.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let forge = forge(ForgeKind::GitHub, &url);
        tokio::time::pause();
        forge.tend(&proposal(), false).await.unwrap_err()
    });
    assert!(error.to_string().starts_with("no answer from"), "{error}");
}
