//! Documents written by hand: their policies are valid, their links lead somewhere, their demo runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lastgood::policy;
use lastgood::policy::lint::{Assumptions, warnings};
use lastgood::sinks;
use serde_json::Value;

use crate::{in_checkout, read};

/// Every document, by its path in the checkout.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for folder in ["", "docs", "docs/reference"] {
        for entry in std::fs::read_dir(in_checkout(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = read(path.to_str().unwrap());
                found.insert(path, text);
            }
        }
    }
    found
}

/// The fenced blocks of this language, without the fence's indent, each with its line.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, bool)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match (open, line.trim_start().strip_prefix("```")) {
            (None, Some(given)) => {
                open = Some((indent, given == language));
                if given == language {
                    blocks.push((number + 1, String::new()));
                }
            }
            (Some(_), Some(_)) => open = None,
            (Some((indent, true)), None) => {
                let block = &mut blocks.last_mut().unwrap().1;
                block.push_str(line.get(indent..).unwrap_or_default());
                block.push('\n');
            }
            (Some(_) | None, None) => {}
        }
    }
    blocks
}

#[test]
fn policies_in_documents_are_valid() {
    let mut seen = 0;
    for (path, text) in documents() {
        for (line, block) in blocks(&text, "yaml") {
            if !block.contains("apiVersion: lastgood.dev/") {
                continue;
            }
            let name = format!("{}:{line}", path.display());
            if block.contains("\nsinks:") {
                sinks::read(&name, block.as_bytes()).unwrap_or_else(|mistakes| panic!("{name}\n{mistakes}"));
                continue;
            }
            policy::read(&name, block.as_bytes()).unwrap_or_else(|mistakes| panic!("{name}\n{mistakes}"));
            let file = policy::SourceFile { name, bytes: block.into_bytes() };
            let assumptions = Assumptions { scrape_interval: Duration::from_secs(15) };
            let warned: String = warnings(&file, assumptions).iter().map(ToString::to_string).collect();
            assert!(warned.is_empty(), "{warned}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} policies were found: is the search broken?");
}

/// The targets of inline links outside of code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(targets.map(|(target, _)| target.to_owned()));
        }
    }
    links
}

/// The anchors of a document's headings, as forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    for (path, text) in &documents {
        for link in links(text) {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { path.clone() } else { clean(&path.with_file_name(file)) };
            assert!(
                in_checkout(target.to_str().unwrap()).exists(),
                "{}: {link} does not exist",
                path.display()
            );
            if !anchor.is_empty() {
                let found = documents.get(&target).is_some_and(|text| anchors(text).contains(anchor));
                assert!(found, "{}: {link} names no heading", path.display());
            }
        }
    }
}

/// The path without `..`.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    clean
}

/// The README's first command: the real daemon recovers from both bad deploys.
#[test]
fn the_demo_ends_well() {
    assert!(read("README.md").contains("cargo run --release -- demo"));
    let output = Command::new(env!("CARGO_BIN_EXE_lastgood")).args(["demo", "--output", "json"]).output();
    let output = output.expect("the program was just built");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}{words}", output.status);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sentences =
        lines.iter().filter(|line| line["who"] == "lastgood").map(|line| line["sentence"].as_str());
    let recoveries = sentences.flatten().filter(|sentence| sentence.starts_with("recovered with")).count();
    assert_eq!(recoveries, 2, "{text}{words}");
}
