//! The schema that editors check policies by: it takes what the reader takes, and refuses what a schema can see.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::Value;

use crate::{check, in_checkout, read};

/// The line by which an editor finds the schema of a policy, beside the sample.
const MODELINE: &str = "# yaml-language-server: $schema=./policy.schema.json";

/// The same for sinks.
const SINKS_MODELINE: &str = "# yaml-language-server: $schema=../sinks.schema.json";

#[test]
fn the_schema_is_that_of_the_types() {
    let schema = serde_json::to_string_pretty(&lastgood::policy::schema()).unwrap();
    check("config/policy.schema.json", &(schema + "\n"));
    let schema = serde_json::to_string_pretty(&lastgood::sinks::schema()).unwrap();
    check("config/sinks.schema.json", &(schema + "\n"));
}

#[test]
fn the_ledgers_schema_is_that_of_the_types() {
    let schema = serde_json::to_value(lastgood::record::ledger::schema()).unwrap();
    jsonschema::draft7::meta::validate(&schema).unwrap_or_else(|error| panic!("not a schema: {error}"));
    check("config/ledger.schema.json", &(serde_json::to_string_pretty(&schema).unwrap() + "\n"));
}

fn validator() -> Validator {
    validator_of(&serde_json::to_value(lastgood::policy::schema()).unwrap())
}

fn validator_of(schema: &Value) -> Validator {
    jsonschema::draft7::meta::validate(schema).unwrap_or_else(|error| panic!("not a schema: {error}"));
    jsonschema::draft7::new(schema).unwrap_or_else(|error| panic!("not a schema: {error}"))
}

/// What the schema says against the policy, as `place: what`.
fn complaints(validator: &Validator, yaml: &str) -> Vec<String> {
    let value: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The text of each sample of a folder; all fit the schema and name it.
fn samples(folder: &str, validator: &Validator, modeline: &str) -> Vec<(String, String)> {
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(in_checkout(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(complaints(validator, &text), Vec::<String>::new(), "{}", path.display());
            assert_eq!(text.lines().next(), Some(modeline), "{}", path.display());
            samples.push((path.display().to_string(), text));
        }
    }
    assert!(!samples.is_empty());
    samples
}

#[test]
fn the_samples_are_valid_and_name_the_schema() {
    samples("config", &validator(), MODELINE);
}

/// There is one for each form, and the reader takes it.
#[test]
fn the_samples_of_sinks_are_valid_and_name_the_schema() {
    let validator = validator_of(&serde_json::to_value(lastgood::sinks::schema()).unwrap());
    let mut shown = BTreeSet::new();
    for (name, text) in samples("config/sinks", &validator, SINKS_MODELINE) {
        let sinks = lastgood::sinks::read(&name, text.as_bytes());
        let sinks = sinks.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        shown.extend(sinks.into_iter().map(|sink| String::from(sink.format)));
    }
    assert_eq!(shown, formats(), "each form has an example");
}

/// The forms that the schema names.
fn formats() -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&read("config/sinks.schema.json")).unwrap();
    let words = schema["definitions"]["Format"]["oneOf"].as_array().unwrap();
    words.iter().map(|word| word["const"].as_str().unwrap().to_owned()).collect()
}

/// Each is also a mistake to the reader, or the schema would be stricter than what it describes.
#[test]
fn what_a_schema_can_see_is_refused() {
    let validator = validator();
    let good = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: a }\nrollback: { mode: push }\n";
    let with = |lines: &str| format!("{good}{lines}\n");
    for (yaml, expected) in [
        (good.replace("apiVersion: lastgood.dev/v1alpha1", ""), "\"apiVersion\" is a required property"),
        (good.replace("v1alpha1", "v9"), "lastgood.dev/v1alpha1"),
        (good.replace("application", "aplication"), "'aplication' was unexpected"),
        (good.replace("mode: push", "mode: psuh"), "\"psuh\" is not valid"),
        (good.replace("mode: push", "revertsPerDay: 2"), "\"mode\" is a required property"),
        (with("analysis: { duration: 5 }"), "5 is not of type \"string\""),
        (with("analysis: { duration: 5 parsecs }"), "does not match"),
        (with("analysis: { intervall: 15s }"), "'intervall' was unexpected"),
        (with("slos: { name: a }"), "is not of type"),
        (with("slos: [{ name: a }]"), "\"query\" is a required property"),
        (with("slos: [{ name: a, query: up, max: high }]"), "\"high\" is not of type"),
        (with("slos: [{ name: a, query: up, max: 1, of: -1 }]"), "less than the minimum"),
        (with("rollout: { oomKill: maybe }"), "\"maybe\" is not of type"),
        (with("prometheus: {}"), "\"url\" is a required property"),
    ] {
        let said = complaints(&validator, &yaml);
        assert!(said.iter().any(|one| one.contains(expected)), "{expected}: {said:?}\n{yaml}");
        assert!(lastgood::policy::read("p", yaml.as_bytes()).is_err(), "the reader takes it:\n{yaml}");
    }
}

/// Sections whose content is commented out, and what people write in other ways.
#[test]
fn what_the_reader_takes_is_not_refused() {
    let validator = validator();
    let good = "apiVersion: lastgood.dev/v1alpha1\napplication: { name: a }\nrollback: { mode: push }\n";
    for lines in [
        "analysis:\nvariables:\nslos:\nsync:\nrollout:\ngit:",
        "analysis: { duration: 1h 30m, interval: 500ms }",
        "git: { forge: { kind: gitea }, author: { name: a } }",
        "prometheus: { url: http://p }\nslos: [{ name: a, query: up, min: 0, max: 1.5 }]",
    ] {
        let yaml = format!("{good}{lines}\n");
        assert_eq!(complaints(&validator, &yaml), Vec::<String>::new(), "{yaml}");
        lastgood::policy::read("p", yaml.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    }
}

/// An editor shows a field's description; there is none to show for a field that has none.
#[test]
fn every_field_is_described() {
    fn walk(value: &Value, place: &str) {
        if let Some(properties) = value["properties"].as_object() {
            for (name, field) in properties {
                let said = field["description"].as_str().unwrap_or_default();
                assert!(!said.is_empty() && !said.contains('\n'), "{place}.{name}: {said:?}");
            }
        }
    }
    for file in ["config/policy.schema.json", "config/sinks.schema.json"] {
        let schema: Value = serde_json::from_str(&read(file)).unwrap();
        walk(&schema, "the file");
        for (name, definition) in schema["definitions"].as_object().unwrap() {
            walk(definition, name);
        }
    }
}
