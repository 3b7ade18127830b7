//! What Argo CD writes, as facts.

use super::application::Application;
use super::*;
use crate::cluster::fake;
use crate::engine::facts::{
    HealthStatus, OperationPhase, Origin, Rendering, Revision, Revisions, SourceKind, SyncStatus, Tool,
    WorkloadKind,
};

const SYNCED: &str = include_str!("../../../tests/fixtures/argocd/v3.5-synced.json");
const SEVERAL: &str = include_str!("../../../tests/fixtures/argocd/v3.4-several-sources.json");
const NULLS: &str = include_str!("../../../tests/fixtures/argocd/nulls.json");
const HYDRATED: &str = include_str!("../../../tests/fixtures/argocd/v3.5-hydrated.json");

fn application(json: &str) -> Application {
    serde_json::from_str(json).expect("an Application always decodes")
}

fn facts(json: &str) -> ApplicationFacts {
    application(json).facts().expect("it has a name")
}

fn rendering(kind: &SourceKind) -> &Rendering {
    let SourceKind::Git { rendering } = kind else { panic!("{kind:?}") };
    rendering
}

fn revision(digit: &str) -> Revisions {
    Revision::new(digit.repeat(40)).into()
}

#[test]
fn a_synced_application() {
    let facts = facts(SYNCED);
    assert_eq!(facts.app, AppKey::new("argocd", "shop"));
    assert_eq!(facts.project, "web");
    assert_eq!(facts.labels.get("team").map(String::as_str), Some("web"));
    assert_eq!(facts.sources.len(), 1);
    let rendering = rendering(&facts.sources[0].kind);
    assert_eq!(rendering.path.as_deref(), Some("deploy/shop"));
    assert_eq!((rendering.tool, rendering.tool_seen), (Some(Tool::Kustomize), Some(Tool::Kustomize)));
    assert_eq!(rendering.instance.as_deref(), Some("shop"));
    assert!(!rendering.is_flat());
    assert_eq!(facts.sources[0].target_revision, "main");
    assert!(facts.in_cluster && facts.auto_sync && !facts.hydrated && !facts.operation_requested);
    assert_eq!((facts.sync, facts.health), (SyncStatus::Synced, HealthStatus::Progressing));
    assert_eq!(facts.compared, Some(revision("2")));
    assert_eq!(facts.reconciled_at, Some("2026-11-20T10:00:10Z".parse().unwrap()));
    assert_eq!(facts.resume.as_deref(), Some("h-1"));

    let operation = facts.operation.unwrap();
    assert_eq!(operation.phase, OperationPhase::Succeeded);
    assert_eq!(operation.revisions, Some(revision("2")));
    assert_eq!(operation.initiated_by, "automated");
    assert!(!operation.dry_run);

    let [first, second] = facts.history.as_slice() else { panic!("{:?}", facts.history) };
    assert_eq!((first.id, &first.revisions), (0, &revision("1")));
    assert_eq!(first.spec_digest, facts.spec_digest, "what Argo CD leaves out does not count");
    assert_ne!(second.spec_digest, facts.spec_digest, "another target revision does");

    let workloads: Vec<String> = facts.workloads.iter().map(ToString::to_string).collect();
    assert_eq!(
        workloads,
        ["Deployment shop/web", "StatefulSet shop/db", "Job shop/seed", "Rollout shop/api"]
    );
}

#[test]
fn several_sources_and_a_retry() {
    let facts = facts(SEVERAL);
    assert_eq!(facts.sources[0].kind, SourceKind::Chart { chart: "grafana".into() });
    let values = rendering(&facts.sources[1].kind);
    assert_eq!((&values.path, values.referred.as_slice()), (&None, ["grafana.yaml".to_owned()].as_slice()));
    assert_eq!(facts.sources[2].kind, SourceKind::Chart { chart: "extras".into() });
    assert_eq!(rendering(&facts.sources[3].kind).path.as_deref(), Some(""));
    assert_eq!(facts.sources[1].target_revision, "HEAD");
    assert!(facts.in_cluster && !facts.auto_sync && facts.operation_requested);
    assert_eq!(facts.compared.as_ref().map(|c| c.iter().count()), Some(4));
    assert_eq!(facts.history[0].spec_digest, facts.spec_digest);

    let operation = facts.operation.unwrap();
    assert_eq!((operation.waits_after_failure(), operation.retry_count, operation.dry_run), (true, 2, true));
    assert_eq!(operation.initiated_by, "alice");
    // Asked for and resolved: a chart's version stands for itself, `sha256:…` of an OCI source too.
    assert_eq!(operation.revisions.map(|r| r.short()), Some("8.1.0+33333333+sha256:a+44444444".into()));
}

#[test]
fn a_password_in_a_url_goes_no_further() {
    let url = |url: &str| {
        let object = format!(
            r#"{{"metadata":{{"name":"a","namespace":"b"}},"spec":{{"source":{{"repoURL":"{url}","path":"x"}}}}}}"#
        );
        application(&object).facts().unwrap().sources[0].repo_url.clone()
    };
    assert_eq!(url("https://me:s3cret@git.example.com/a@b.git"), "https://git.example.com/a@b.git");
    assert_eq!(url("https://git.example.com/a.git"), "https://git.example.com/a.git");
    assert_eq!(url("ssh://git@git.example.com/a.git"), "ssh://git@git.example.com/a.git");
    assert_eq!(url("git@git.example.com:a.git"), "git@git.example.com:a.git");
}

#[test]
fn nulls_and_odd_types_count_as_absent() {
    let facts = facts(NULLS);
    assert_eq!(facts.app, AppKey::new("argocd", "odd"));
    assert_eq!((facts.uid.as_str(), facts.project.as_str()), ("", "default"));
    assert_eq!((facts.sync, facts.health), (SyncStatus::Unknown, HealthStatus::Unknown));
    assert_eq!((facts.operation, facts.compared, facts.reconciled_at), (None, None, None));
    assert!(!facts.auto_sync && !facts.in_cluster && !facts.operation_requested);
    let [entry] = facts.history.as_slice() else { panic!("{:?}", facts.history) };
    assert_eq!((entry.id, &entry.revisions, entry.spec_digest.as_str()), (0, &revision("5"), ""));
    let [agent] = facts.workloads.as_slice() else { panic!("{:?}", facts.workloads) };
    assert_eq!((agent.kind, agent.name.as_str()), (WorkloadKind::DaemonSet, "agent"));

    for odd in ["{}", r#"{"spec":7,"status":"x"}"#, r#"{"spec":null,"status":null}"#] {
        let object = format!(r#"{{"metadata":{{"name":"a","namespace":"b"}},"spec":null,"odd":{odd}}}"#);
        assert!(application(&object).facts().is_some(), "{odd}");
    }
    for odd in [r#""spec":[1]"#, r#""status":"x""#, r#""operation":7,"status":[]"#] {
        let object = format!(r#"{{"metadata":{{"name":"a","namespace":"b"}},{odd}}}"#);
        assert!(application(&object).facts().is_some(), "{odd}");
    }
}

#[test]
fn a_hydrated_application() {
    let facts = facts(HYDRATED);
    assert!(facts.hydrated && !facts.in_cluster && !facts.auto_sync);
    assert_eq!(facts.sources[0].repo_url, "https://git.example.com/dry.git");
    assert_eq!(facts.sources[0].target_revision, "environments/prod");
    let dry = facts.dry.unwrap().source;
    assert_eq!(
        (dry.repo_url.as_str(), dry.target_revision.as_str()),
        ("https://git.example.com/dry.git", "HEAD")
    );
    assert_eq!(rendering(&dry.kind).path.as_deref(), Some("shop"));
    assert_eq!(facts.history[0].spec_digest, facts.spec_digest);
    // `main` was asked for; what it is, Argo CD has not said.
    assert_eq!(facts.operation.unwrap().revisions, None);
}

#[test]
fn the_digest_sees_what_matters() {
    let digest = |json: &str| digest::source_digest(Some(&serde_json::from_str(json).unwrap()), &[]);
    let check = |a: &str, b: &str, same: bool| assert_eq!(digest(a) == digest(b), same, "{a} {b}");
    check(r#"{"a":1,"b":{"c":"d"}}"#, r#"{"b":{"c":"d"},"a":1}"#, true);
    check(r#"{"a":"x","b":null,"c":[],"d":{"e":{}},"f":false,"g":""}"#, r#"{"a":"x"}"#, true);
    check(r#"{"images":["a:1"]}"#, r#"{"images":["a:2"]}"#, false);
    check(r#"{"images":["a","b"]}"#, r#"{"images":["b","a"]}"#, false);
    check(r#"{"replicas":[{"name":"a","count":0}]}"#, r#"{"replicas":[{"name":"a"}]}"#, false);
    check(r#"{"helm":{"valuesObject":{"on":false}}}"#, r#"{"helm":{"valuesObject":{}}}"#, false);
    check(r#"{"helm":{"valuesObject":{}}}"#, r#"{}"#, true);
    check(r#"{"targetRevision":"1.2.3"}"#, r#"{"targetRevision":"1.2.4"}"#, false);
    assert_eq!(digest::source_digest(None, &[]), "");
}

#[test]
fn only_news_is_told() {
    let mut known = Known::default();
    let shop = application(SYNCED);
    let names = |seen: Vec<Seen>| -> Vec<String> {
        let name = |seen| match seen {
            Seen::Application(facts) => format!("{} seen", facts.app),
            Seen::Gone(app) => format!("{app} gone"),
            Seen::Ready => "ready".into(),
        };
        seen.into_iter().map(name).collect()
    };

    known.begin_list();
    assert!(known.apply(&shop).is_some());
    assert!(known.apply(&application(HYDRATED)).is_some());
    assert_eq!(names(known.end_list()), Vec::<String>::new());

    assert_eq!(known.apply(&shop), None);
    let changed = SYNCED.replace(r#""resourceVersion": "4711""#, r#""resourceVersion": "4712""#);
    assert_eq!(known.apply(&application(&changed)), None, "only what matters counts");
    let changed = SYNCED.replace(r#""status": "Progressing""#, r#""status": "Degraded""#);
    assert!(known.apply(&application(&changed)).is_some());

    // Deleted while the watch was down.
    known.begin_list();
    assert_eq!(known.apply(&application(&changed)), None);
    assert_eq!(names(known.end_list()), ["argocd/hydrated gone"]);

    assert_eq!(known.delete(&shop), Some(Seen::Gone(AppKey::new("argocd", "shop"))));
    assert_eq!(known.delete(&shop), None);
}

/// Reads what the watch tells until it is ready.
async fn until_ready(namespaces: &[&str]) -> Vec<String> {
    let client = fake::client(|asked| {
        let items: Vec<serde_json::Value> = match asked.path.as_str() {
            "/apis/argoproj.io/v1alpha1/applications" => [SYNCED, NULLS].map(json).into(),
            "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications" => [SYNCED].map(json).into(),
            "/apis/argoproj.io/v1alpha1/namespaces/team/applications" => Vec::new(),
            other => panic!("{other}"),
        };
        if asked.is_watch() { fake::Answer::Silence } else { fake::list(&items) }
    });
    let (tx, mut rx) = mpsc::channel(1);
    let task = tokio::spawn(watch(client, namespaces.iter().map(ToString::to_string).collect(), tx));
    let mut told = Vec::new();
    while let Some(seen) = rx.recv().await {
        match seen {
            Seen::Application(facts) => told.push(facts.app.to_string()),
            Seen::Gone(app) => panic!("{app}"),
            Seen::Ready => break,
        }
    }
    drop(rx);
    task.await.unwrap();
    told
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_watch_is_ready_when_every_namespace_is_listed() {
    assert_eq!(until_ready(&[]).await, ["argocd/shop", "argocd/odd"]);
    assert_eq!(until_ready(&["argocd"]).await, ["argocd/shop"]);
    assert_eq!(until_ready(&["argocd", "team", "team"]).await, ["argocd/shop"]);
}

/// Who wrote an Application, and what it writes itself.
#[test]
fn parents_and_children() {
    let object = serde_json::json!({
        "metadata": {
            "name": "shop", "namespace": "argocd", "labels": { "app.kubernetes.io/instance": "no" },
            "annotations": { "argocd.argoproj.io/tracking-id": "root:argoproj.io/Application:argocd/shop" },
        },
        "spec": { "source": { "repoURL": "https://git.example/a", "path": "x" } },
        "status": { "controllerNamespace": "argocd", "resources": [
            { "group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": "web" },
            { "group": "argoproj.io", "kind": "ApplicationSet", "namespace": "argocd", "name": "all" },
            { "group": "argoproj.io", "kind": "AppProject", "namespace": "argocd", "name": "web" },
        ] },
    });
    let facts = facts(&object.to_string());
    let key = |name: &str| AppKey::new("argocd", name);
    assert_eq!(facts.parent, Some(Origin::Application(key("root"))));
    assert_eq!(facts.children, [Origin::Application(key("web")), Origin::ApplicationSet(key("all"))]);
}

/// Everything that a source says of its files.
#[test]
fn how_a_source_is_rendered() {
    let object = serde_json::json!({
        "metadata": {
            "name": "shop", "namespace": "team",
            "annotations": { "argocd.argoproj.io/manifest-generate-paths": ".; /common ;" },
        },
        "spec": {
            "project": "web",
            "destination": { "namespace": "shop" },
            "sources": [
                {
                    "repoURL": "https://git.example/a", "path": "chart",
                    "helm": {
                        "valueFiles": ["v.yaml", null, "$values/env/$ARGOCD_APP_NAMESPACE.yaml", "$other/x.yaml"],
                        "fileParameters": [{ "name": "a", "path": "a.txt" }, { "path": "$own/b.txt" }, 7],
                    },
                },
                { "repoURL": "https://git.example/values", "ref": "values" },
                { "repoURL": "https://git.example/a", "ref": "own", "path": "plain",
                  "directory": { "exclude": "{a,b}/*", "include": null, "jsonnet": { "libs": ["lib"] } } },
                { "repoURL": "https://git.example/a", "path": "k",
                  "kustomize": { "components": ["../c"], "patches": [{ "path": "p.yaml" }, { "patch": "x" }] } },
            ],
        },
        "status": { "controllerNamespace": "argocd", "sourceTypes": ["Helm", "", "Directory", "Plugin"] },
    });
    let facts = facts(&object.to_string());
    let [helm, values, plain, kustomize] = facts.sources.as_slice() else { panic!("{facts:?}") };

    let helm = rendering(&helm.kind);
    assert_eq!(helm.instance.as_deref(), Some("team_shop"));
    assert_eq!((helm.tool, helm.tool_seen), (Some(Tool::Helm), Some(Tool::Helm)));
    assert_eq!(helm.value_files, ["v.yaml", "$other/x.yaml"]);
    assert_eq!(helm.file_parameters, ["a.txt"]);
    assert_eq!(helm.generate_paths, [".", "/common"]);

    let values = rendering(&values.kind);
    assert_eq!((values.path.as_deref(), values.tool_seen), (None, None));
    assert_eq!(values.referred, ["env/shop.yaml"]);
    assert!(values.generate_paths.is_empty(), "they say where a folder's manifests come from");

    let plain = rendering(&plain.kind);
    let directory = plain.directory.as_ref().unwrap();
    assert_eq!((directory.include.as_str(), directory.exclude.as_str()), ("", "{a,b}/*"));
    assert_eq!(directory.libraries, ["lib"]);
    assert_eq!(plain.referred, ["b.txt"]);
    assert!(plain.is_flat());

    let kustomize = rendering(&kustomize.kind);
    assert_eq!((kustomize.tool, kustomize.tool_seen), (Some(Tool::Kustomize), Some(Tool::Plugin)));
    assert_eq!(kustomize.components, ["../c"]);
    assert_eq!(kustomize.patches, ["p.yaml"]);
}
