//! What the ledger holds goes out as it is written.

use lastgood::cluster::Clients;
use lastgood::record::state::kube::LastGood;
use lastgood::sinks::read;

use crate::server::{Answer, Server};
use crate::stage::{Keep, Stage, policy};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_told_to_the_sink_in_order_over_a_restart() {
    let server = Server::start().await;
    server.will([Answer::Status(503)]);
    let mut stage = Stage::new(Keep::InTheCluster, &[("shop", &policy("push", ""))]).await;
    let yaml = format!(
        "apiVersion: lastgood.dev/v1alpha1\nsinks: [{{ name: siem, url: \"{}\", format: cloudevents, filter: {{ applications: [shop] }} }}]",
        server.url()
    );
    stage.sinks = read("sinks", yaml.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    stage.with_slo("push", "2s");
    stage.start();
    stage.until("LastGood").await;
    stage.deploy("v2");
    stage.until("Healthy").await;
    stage.kill();
    stage.start();
    stage.deploy("v3-errors");
    stage.until("Recovered").await;
    let recovered = |came: &[crate::server::Came]| {
        came.iter().any(|one| one.taken && one.json()["type"] == "dev.lastgood.Recovered")
    };
    let came = server.until("the recovery", recovered).await;
    // Twice is allowed, and then with the same id.
    let mut told: Vec<(String, String)> = Vec::new();
    for event in came.iter().filter(|one| one.taken).map(crate::server::Came::json) {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        assert_eq!((text("subject"), text("source")), ("argocd/shop".into(), "/lastgood/test".into()));
        let one = (text("id"), text("type").replace("dev.lastgood.", ""));
        if !told.contains(&one) {
            told.push(one);
        }
    }
    let recorded: Vec<(String, String)> = stage
        .records()
        .into_iter()
        .filter(|record| record.application.is_some())
        .map(|record| (record.id, record.reason))
        .collect();
    assert_eq!(told, recorded[..told.len()]);
    assert_eq!(told.last().unwrap().1, "Recovered");
    let clients = Clients::new(&kube::Config::new(stage.sandbox.api_url().parse().unwrap())).unwrap();
    let objects: kube::Api<LastGood> = kube::Api::namespaced(clients.request, "argocd");
    let object = objects.get("siem.sinks.lastgood.dev").await.unwrap();
    assert_eq!(object.metadata.owner_references, None, "it goes with no Application");
}
