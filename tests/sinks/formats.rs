//! How each form proves who sends, over real HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::server::{Answer, Came};
use crate::{Stage, has};

/// A folder with these credentials, and the line that names it.
fn credentials(stage: &Stage, texts: &[(&str, &str)]) -> String {
    let folder = stage.folder.path().join("credentials");
    std::fs::create_dir_all(&folder).unwrap();
    for (key, text) in texts {
        std::fs::write(folder.join(key), text).unwrap();
    }
    format!("    credentials: {{ folder: {} }}\n", folder.display())
}

async fn first(stage: &Stage, path: &str) -> Came {
    let came = stage.server.until(path, |came| came.iter().any(|one| one.uri.path() == path)).await;
    came.into_iter().find(|one| one.uri.path() == path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_sends_its_token_in_its_own_way() {
    for (format, path, name, value) in [
        ("cloudevents", "/", "authorization", "Bearer t0ken"),
        ("splunk", "/services/collector/event", "authorization", "Splunk t0ken"),
        ("elastic", "/_bulk", "authorization", "ApiKey t0ken"),
        ("datadog", "/api/v2/logs", "dd-api-key", "t0ken"),
        ("loki", "/loki/api/v1/push", "authorization", "Bearer t0ken"),
        ("otlp", "/v1/logs", "authorization", "Bearer t0ken"),
    ] {
        let stage = Stage::new().await;
        let more = credentials(&stage, &[("token", "t0ken")]) + "    headers: { X-Scope-OrgID: team }\n";
        let daemon = stage.daemon(format, &more);
        stage.happens(1, "a");
        let came = first(&stage, path).await;
        assert_eq!(came.headers[name], value, "{format}");
        assert_eq!(came.headers["x-scope-orgid"], "team", "{format}");
        daemon.stop().await;
    }
}

/// Checks a request as a receiver does, with a key of its own: by the standard, not by our code.
fn is_signed(came: &Came, key: &str) -> bool {
    let text = |name: &str| came.headers[name].to_str().unwrap().to_owned();
    let mut signed = format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(&came.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).unwrap());
    let fits = |one: &str| {
        let given = STANDARD.decode(one.strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&key, &signed, &given).is_ok()
    };
    text("webhook-signature").split(' ').any(fits)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_with_each_key_and_keeps_its_id() {
    let (old, new) = ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
    for format in ["cloudevents", "cloudevents-binary", "json"] {
        let stage = Stage::new().await;
        stage.server.will([Answer::Status(503)]);
        let keys = format!("whsec_{new}\nwhsec_{old}\n");
        let more = credentials(&stage, &[("webhookSecret", &keys)]) + "    sign: true\n";
        let daemon = stage.daemon(format, &more);
        stage.happens(1, "a");
        let came = stage.server.until("the second try", |came| came.len() == 2).await;
        for one in &came {
            assert!(is_signed(one, old) && is_signed(one, new), "{format}: {one:?}");
            assert!(!is_signed(one, "////////////////////////////////"), "{format}");
            assert_eq!(one.headers["webhook-id"], "r1");
        }
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel_gets_a_token_first_and_a_new_one_when_it_is_refused() {
    let stage = Stage::new().await;
    stage.server.says("/token", r#"{"token_type":"Bearer","expires_in":3599,"access_token":"acc3ss"}"#);
    stage.server.will([Answer::Status(204), Answer::Status(401)]);
    let more = credentials(&stage, &[("clientId", "id"), ("clientSecret", "s3cret")])
        + &format!(
            "    oauth: {{ tokenUrl: \"{}/token\", scope: \"https://monitor.azure.com/.default\" }}\n",
            stage.server.url()
        )
        + "    rule: dcr-1\n    stream: Custom-LastGood_CL\n";
    let daemon = stage.daemon("sentinel", &more);
    stage.happens(1, "a");
    let logs = "/dataCollectionRules/dcr-1/streams/Custom-LastGood_CL";
    let came = first(&stage, logs).await;
    assert_eq!(came.headers["authorization"], "Bearer acc3ss");
    assert_eq!(came.uri.query(), Some("api-version=2023-01-01"));
    assert_eq!(came.json()[0]["RecordId"], "r1");
    stage.happens(2, "a");
    let came = stage
        .server
        .until("the third", |came| came.iter().filter(|one| one.uri.path() == logs).count() == 3)
        .await;
    let tokens: Vec<String> = came
        .iter()
        .filter(|one| one.uri.path() == "/token")
        .map(|one| String::from_utf8(one.body.to_vec()).unwrap())
        .collect();
    let asked = "grant_type=client_credentials&client_id=id&client_secret=s3cret&scope=https%3A%2F%2Fmonitor.azure.com%2F.default";
    assert_eq!(tokens, [asked, asked]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elastic_takes_a_document_that_is_there_for_delivered() {
    let stage = Stage::new().await;
    stage
        .server
        .says("/_bulk", r#"{"errors":true,"items":[{"create":{"status":409}},{"create":{"status":201}}]}"#);
    let daemon = stage.daemon("elastic", "");
    stage.happens(1, "ab");
    stage.kept("both", |kept| kept.ledgers.values().any(|one| one.newest == 2 && one.behind() == 0)).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_asked_for_the_sink() {
    let stage = Stage::new().await;
    let proxy = stage.server.url();
    let more = credentials(&stage, &[("proxyUsername", "me"), ("proxyPassword", "pass")])
        + &format!(
            "  - name: behind\n    url: http://siem.invalid/x\n    format: json\n    proxy: {proxy}\n"
        )
        + &credentials(&stage, &[]);
    let daemon = stage.daemon("json", &more);
    stage.happens(1, "a");
    let came = stage.server.until("both", |came| came.len() >= 2 && has(1)(came)).await;
    let behind = came.iter().find(|one| one.uri.host() == Some("siem.invalid")).unwrap();
    assert_eq!(behind.headers["proxy-authorization"], "Basic bWU6cGFzcw==");
    daemon.stop().await;
}
