//! Records for other tools, and the page for auditors.

use lastgood::record::ledger::{Digest, PolicyUsed, Record};
use serde_json::{Value, json};

use super::branches::Story;
use super::fixture::{audit, folder, record, records, text};

fn export(records: &[Record], args: &[&str]) -> String {
    let folder = folder(records);
    let (code, out, err) = audit(&[&["export", "--ledger", text(folder.path())], args].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    out
}

#[test]
fn an_export_has_the_records_of_its_time_in_each_form() {
    let mut all = records();
    all[3].inputs = Some(json!({ "large": true }));
    let of = |args: &[&str]| {
        export(&all, &[&["--from", "2026-02-01T00:00:00Z", "--to", "2026-02-01T00:05:00Z"], args].concat())
    };
    let jsonl = of(&["--format", "jsonl"]);
    let lines: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines.len(), &lines[0]["sequence"], &lines[0]["record"]["id"]),
        (2, &4.into(), &"d-pushed".into())
    );
    assert!(lines[0]["record"].get("inputs").is_none());
    assert!(of(&["--format", "jsonl", "--inputs"]).contains("\"inputs\":{\"large\":true}"));

    let csv = of(&["--format", "csv"]);
    let rows: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert!(
        rows.len() == 3 && rows[0].starts_with("sequence,id,at,") && rows[2].starts_with("5,e-live,"),
        "{csv}"
    );
    let cef = of(&["--format", "cef"]);
    assert!(cef.lines().count() == 2 && cef.lines().all(|line| line.starts_with("CEF:0|lastgood|")), "{cef}");
    let ocsf = of(&["--format", "ocsf"]);
    let event: Value = serde_json::from_str(ocsf.lines().next().unwrap()).unwrap();
    assert_eq!((&event["class_uid"], &event["metadata"]["uid"]), (&6002.into(), &"d-pushed".into()));
}

/// A rollback with the evidence that the daemon records, whose texts try to break out of the page.
fn hostile(story: &Story) -> Vec<Record> {
    let mut all = story.records.clone();
    let values = |from: i64, value: f64| -> Vec<Value> {
        (0..20).map(|k| json!([1_769_903_900_000_i64 + (from + k) * 15_000, value])).collect()
    };
    all[2].sentence = "reverting <script>alert(1)</script> & \"more\"".into();
    all[2].evidence = Some(json!({
        "sync": { "revisions": ["bad1bad"], "historyId": 7, "startedAt": "2026-01-31T23:59:00Z", "initiatedBy": "ann" },
        "signals": [
            { "signal": "rollout", "breach": { "why": "pods <b>crash</b>" } },
            {
                "signal": { "slo": "error-rate" },
                "query": "rate(x{a=\"</td>\"}[1m])",
                "rule": { "threshold": { "objective": { "max": 0.05 } } },
                "before": [{ "samples": values(-20, 0.01) }],
                "after": [{ "samples": values(0, 0.2) }],
            },
        ],
    }));
    let policy = "a: '</pre><script>'\n";
    all[2].policy = Some(PolicyUsed {
        name: "shop".into(),
        hash: Digest::of(policy.as_bytes()),
        text: Some(policy.into()),
    });
    let mut recovered = record("e-recovered", 60, "Recovered", "recovered with 1111111");
    recovered.rollback = Some("shop@1".into());
    all.push(recovered);
    all
}

#[test]
fn a_page_has_each_change_with_its_evidence_and_nothing_breaks_out_of_it() {
    let story = Story::new();
    let folder = folder(&hostile(&story));
    let file = folder.path().join("report.html");
    let (code, out, err) = audit(&["report", "--ledger", text(folder.path()), "--output", text(&file)]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    let page = std::fs::read_to_string(&file).unwrap();
    for expected in [
        "reverting &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;",
        "<h3>argocd/shop: shop@1</h3>",
        "<td>recovered with 1111111</td>",
        "whole: no record was changed, removed or added between others",
        "pods &lt;b&gt;crash&lt;/b&gt;",
        "<td>error-rate</td>",
        "rate(x{a=&quot;&lt;/td&gt;&quot;}[1m])",
        "Ann &lt;ann@example.org&gt;",
        "<pre>a: &#39;&lt;/pre&gt;&lt;script&gt;&#39;",
        "<img alt=\"the values of the signals over time\" src=\"data:image/svg+xml,%3Csvg",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    // The line through the values, and the limit.
    assert!(page.contains("class%3D%22series%22") && page.contains("at%20most%200.05"));
    for never in ["<script", "</pre><", "src=\"http", "href=", "url("] {
        assert!(!page.contains(never), "{never}");
    }
    for tag in ["table", "thead", "tbody", "tr", "td", "th", "section", "h2", "h3", "h4", "p", "code", "pre"]
    {
        let (opened, closed) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(page.matches(&opened).count(), page.matches(&closed).count(), "{tag}");
    }
}

#[test]
fn a_page_says_when_the_chain_is_broken() {
    let folder = folder(&records());
    std::fs::remove_file(folder.path().join("2026/01/31/c-intended.json")).unwrap();
    let (code, page, _) = audit(&["report", "--ledger", text(folder.path())]);
    assert!(code == Some(0) && page.contains("not whole: records-missing"), "{page}");
}
