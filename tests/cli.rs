//! The program as a person or a pipeline calls it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::extract::Form;
use axum::routing::post;
use serde_json::{Value, json};

/// Runs the program; gives its exit code, standard output and standard error.
fn lastgood(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastgood"));
    let output = command.args(args).env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("the program was just built");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[test]
fn good_policies_pass_the_check() {
    assert_eq!(lastgood(&["check", "config"]), (Some(0), "11 policies are valid\n".into(), String::new()));
    let (code, out, _) = lastgood(&["check", "config/web.yaml", "config/worker.yaml"]);
    assert_eq!((code, out.as_str()), (Some(0), "2 policies are valid\n"));
    let (code, out, _) =
        lastgood(&["check", "--written-out", "config/preset-worker.yaml", "config/web.yaml"]);
    let begins =
        "# config/preset-worker.yaml: its preset stands for\nslos:\n  - name: error-rate\n    query: |\n";
    let ends = "    max: 120\n    failures: 4\n    of: 6\n\n2 policies are valid\n";
    assert!(code == Some(0) && out.starts_with(begins) && out.ends_with(ends), "{out}");
}

#[test]
fn bad_policies_are_shown_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let good = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: a }\nrollback: { mode: push }\n";
    std::fs::write(dir.path().join("good.yaml"), good).unwrap();
    std::fs::write(dir.path().join("bad.yaml"), good.replace("mode: push", "mode: psuh")).unwrap();
    std::fs::write(dir.path().join("worse.yml"), good.replace("application", "aplication")).unwrap();
    std::fs::write(dir.path().join("README.txt"), "not a policy").unwrap();

    let (code, out, err) = lastgood(&["check", path(dir.path())]);
    let out = out.replace(path(dir.path()), "DIR");
    let expected = "\
error: unknown mode `psuh`
 --> DIR/bad.yaml:3:19
  |
3 | rollback: { mode: psuh }
  |                   ^^^^
  = help: did you mean `push`?

error: unknown field `aplication`
 --> DIR/worse.yml:2:1
  |
2 | aplication: { name: a }
  | ^^^^^^^^^^
  = help: did you mean `application`?

2 mistakes found
";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), expected, ""));
}

#[test]
fn warnings_fail_only_if_they_are_denied() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.yaml");
    let policy = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: shop }\nrollback: { mode: push }\n\
                  prometheus: { url: http://prometheus:9090 }\n\
                  slos: [{ name: errors, query: 'sum(rate(errors_total[30s]))', max: 1 }]\n";
    std::fs::write(&file, policy).unwrap();
    let check = |more: &[&str]| {
        let (code, out, err) = lastgood(&[&["check", path(&file)], more].concat());
        assert_eq!(err, "");
        (code, out)
    };
    let (code, out) = check(&[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("warning[short-window]") && out.contains("shop.yaml:5:53"), "{out}");
    assert!(out.ends_with("1 policy is valid, with 1 warning\n"), "{out}");
    assert_eq!(check(&["--deny-warnings"]).0, Some(1));
    let good = (Some(0), "1 policy is valid\n".to_owned());
    assert_eq!(check(&["--deny-warnings", "--allow", "short-window"]), good);
    assert_eq!(check(&["--deny-warnings", "--scrape-interval", "5s"]), good);

    let (code, _, err) = lastgood(&["check", path(&file), "--allow", "short-windows"]);
    assert!(code == Some(1) && err.contains("did you mean `short-window`?"), "{err}");
    let (code, _, err) = lastgood(&["check", path(&file), "--allow", "bad-query"]);
    assert!(code == Some(1) && err.contains("no policy with it is ever taken"), "{err}");
}

/// Two mistakes and a warning in two files, and a folder that is not there.
fn check_troubled(form: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let good = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: a }\nrollback: { mode: push }\n";
    let slos = "prometheus: { url: http://p }\nslos:\n- { name: ä, max: 1, query: 'sum(rate(x[30s]))' }\n";
    std::fs::write(dir.path().join("a.yaml"), good.replace("mode: push", "mode: psuh") + slos).unwrap();
    std::fs::write(dir.path().join("b,c.yaml"), good.replace("name: a", "name: b") + slos).unwrap();
    let (code, out, err) =
        lastgood(&["check", path(dir.path()), path(&dir.path().join("missing")), "--output", form]);
    assert_eq!(err, "");
    (code, out.replace(path(dir.path()), "DIR"))
}

#[test]
fn programs_get_one_object() {
    let (code, out) = check_troubled("json");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &out["mistakes"], &out["warnings"]), (Some(1), &json!(2), &json!(1)));
    let found = out["found"].as_array().unwrap();
    let told: Vec<String> = found
        .iter()
        .map(|one| {
            format!(
                "{} {} {}:{}:{}-{}",
                one["level"], one["code"], one["file"], one["line"], one["column"], one["endColumn"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            r#""error" "bad-value" "DIR/a.yaml":3:19-23"#,
            r#""warning" "short-window" "DIR/b,c.yaml":6:40-45"#,
            r#""error" "unreadable" "DIR/missing":null:null-null"#,
        ]
    );
    assert!(found.iter().all(|one| one["message"].is_string() && one["help"].is_string()), "{out}");
    let (code, out, _) = lastgood(&["check", "config", "--output", "json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &out["policies"], &out["found"]), (Some(0), &json!(11), &json!([])));
}

#[test]
fn github_shows_mistakes_beside_the_lines() {
    let (code, out) = check_troubled("github");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (Some(1), 4), "{out}");
    let begins = [
        "::error file=DIR/a.yaml,line=3,col=19,endColumn=23,title=lastgood%3A bad-value::unknown mode `psuh`%0Ahelp: ",
        "::warning file=DIR/b%2Cc.yaml,line=6,col=40,endColumn=45,title=lastgood%3A short-window::`rate` over 30s",
        "::error file=DIR/missing,title=lastgood%3A unreadable::cannot read the policies",
        "2 mistakes and 1 warning found",
    ];
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
}

#[test]
fn code_scanning_gets_sarif() {
    let shape: Value = serde_json::from_str(include_str!("fixtures/sarif-shape.json")).unwrap();
    let shape = jsonschema::draft7::new(&shape).unwrap();
    for log in [check_troubled("sarif").1, lastgood(&["check", "config", "--output", "sarif"]).1] {
        let log: Value = serde_json::from_str(&log).unwrap();
        let complaints: Vec<String> =
            shape.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert_eq!(complaints, Vec::<String>::new(), "{log:#}");
        for result in log["runs"][0]["results"].as_array().unwrap() {
            // The rule is the one that the index names.
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(result["ruleId"], log["runs"][0]["tool"]["driver"]["rules"][index]["id"]);
        }
    }
    let log: Value = serde_json::from_str(&check_troubled("sarif").1).unwrap();
    let warning = &log["runs"][0]["results"][1];
    let location = &warning["locations"][0]["physicalLocation"];
    assert_eq!((&warning["ruleId"], &warning["level"]), (&json!("short-window"), &json!("warning")));
    assert!(location["artifactLocation"]["uri"].as_str().unwrap().ends_with("/b%2Cc.yaml"), "{location}");
    assert_eq!(
        location["region"],
        json!({ "startLine": 6, "startColumn": 40, "endLine": 6, "endColumn": 45 })
    );
    assert!(warning["message"]["text"].as_str().unwrap().contains("\nhelp: write `[1m]`"), "{warning}");
}

/// A Prometheus that answers by what the query asks for.
fn prometheus() -> (tokio::runtime::Runtime, String) {
    async fn answer(Form(asked): Form<BTreeMap<String, String>>) -> String {
        let series = |value: &str| json!({ "metric": { "pod": value }, "value": [1, value] });
        let result = match asked["query"].as_str() {
            r#"sum(rate(a{app="shop"}[1m]))"# => vec![series("0.25")],
            r#"sum(rate(b{n="web"}[1m]))"# => vec![series("7")],
            "avg(rate(e[60s]))" | "avg(rate(e[120s]))" => vec![series("0.05")],
            "sum(increase(r[60s]))" => vec![series("600")],
            "several" => vec![series("1"), series("2")],
            _ => vec![],
        };
        json!({ "status": "success", "data": { "resultType": "vector", "result": result } }).to_string()
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/api/v1/query", post(answer));
    runtime.spawn(async { axum::serve(listener, router).await });
    (runtime, url)
}

#[test]
fn a_live_check_shows_what_each_query_returns() {
    let (_server, url) = prometheus();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.yaml");
    let policy = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: shop }\nrollback: { mode: push }\n\
                  prometheus: { url: 'URL' }\nslos:\n\
                  - { name: good, max: 0.5, query: 'sum(rate(a{app=\"{{ application }}\"}[1m]))' }\n\
                  - { name: too high, max: 5, query: 'sum(rate(b{n=\"{{ namespace }}\"}[1m]))' }\n\
                  - { name: two, max: 1, query: several }\n\
                  - { name: none, min: 1, query: nothing }\n\
                  - { name: each, max: 1, query: several, series: each }\n";
    std::fs::write(&file, policy.replace("URL", &url)).unwrap();
    let check = |more: &[&str]| {
        let (code, out, err) = lastgood(&[&["check", path(&file)], more].concat());
        assert_eq!(err, "");
        (code, out.replace(path(&file), "FILE"))
    };

    // Nothing is asked unless it is wanted.
    assert_eq!(check(&[]), (Some(0), "1 policy is valid\n".into()));
    let shown = "FILE returns now:
  good      0.25 (at most 0.5): passes
  too high  7 (at most 5): fails
  two       2 series where one number is wanted
  none      no data: the query matched no series
  each      {pod=\"1\"} 1 (at most 1): passes
  each      {pod=\"2\"} 2 (at most 1): fails

1 policy is valid";
    let (code, out) = check(&["--live", "--set", "namespace=web", "--allow", "no-value-now"]);
    assert_eq!((code, out.as_str()), (Some(0), format!("{shown}\n").as_str()));
    let (code, out) = check(&["--live", "--deny-warnings", "--set", "namespace=web"]);
    assert_eq!(code, Some(1));
    assert!(out.ends_with(&format!("{shown}, with 2 warnings\n")), "{out}");
    assert!(out.contains("warning[no-value-now]: the query has no value now: 2 series"), "{out}");
    assert!(out.contains("--> FILE:8:31"), "{out}");

    // What is not known is asked of nobody.
    let (_, out) = check(&["--live", "--output", "github"]);
    assert!(out.contains("file=FILE,line=7,") && out.contains("give `--set namespace=VALUE`"), "{out}");

    // Another server than the policy's.
    std::fs::write(&file, policy.replace("URL", "http://127.0.0.1:1")).unwrap();
    let (_, out) = check(&["--prometheus", &url, "--application", "shop", "--output", "json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        out["answers"][0],
        json!({
            "file": "FILE", "slo": "good", "query": "sum(rate(a{app=\"shop\"}[1m]))", "value": 0.25,
            "gap": null, "says": "passes",
        })
    );
    let last = &out["answers"][5];
    assert_eq!((&last["series"], &last["value"]), (&json!({ "pod": "2" }), &json!(2.0)), "{last}");
    let (_, out) = check(&["--live", "--output", "json"]);
    assert!(out.contains("unreachable: Connection refused"), "{out}");
}

#[test]
fn a_live_check_of_a_burn_rate_fills_in_each_window() {
    let (_server, url) = prometheus();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.yaml");
    let policy = format!(
        "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: shop }}\nrollback: {{ mode: push }}\n\
         prometheus: {{ url: '{url}' }}\nslos:\n\
         - name: errors\n  query: 'avg(rate(e[{{{{ window }}}}]))'\n  burnRate:\n    objective: 99%\n    \
         events: 'sum(increase(r[{{{{ window }}}}]))'\n    \
         windows: [{{ factor: 10 }}, {{ long: 4m, short: 2m, factor: 3 }}]\n"
    );
    std::fs::write(&file, policy).unwrap();
    let (code, out, err) = lastgood(&["check", "--live", path(&file)]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let shown = "FILE returns now:
  errors [1m]  0.05 (less than 0.03): passes
  errors [2m]  0.05 (less than 0.03): fails
  errors [1m]  600 events
  errors [2m]  no data: the query matched no series
";
    let out = out.replace(path(&file), "FILE");
    assert!(out.contains(shown), "{out}");
    // At the query that has none.
    assert!(out.contains("warning[no-value-now]") && out.contains("--> FILE:10:13"), "{out}");
}

#[test]
fn nothing_to_check_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = lastgood(&["check", path(dir.path())]);
    assert_eq!(code, Some(1));
    assert!(out.contains("there are no policies here"), "{out}");
    let (code, out, _) = lastgood(&["check", path(&dir.path().join("missing"))]);
    assert_eq!(code, Some(1));
    assert!(out.contains("cannot read the policies"), "{out}");
}

#[test]
fn wrong_arguments_are_told_from_bad_policies() {
    let (code, out, err) = lastgood(&["check"]);
    // What is wrong with policies stands on standard output.
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("DIR_OR_FILE"), "{err}");
    let (code, out, err) = lastgood(&["chekc", "config"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("check"), "{err}");
}
