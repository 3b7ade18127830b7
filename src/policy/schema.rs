//! The JSON Schema of policy files, for editors: what the types of `file` say, with what their own readers take.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::duration::Span;
use super::file::{API_VERSION, ApiVersion, PolicyFile};

/// The schema of a policy file. What it refuses is a mistake; what it lets pass may still make no sense.
pub fn schema() -> Schema {
    schema_of::<PolicyFile>("A policy of lastgood")
}

/// The schema of a kind of file.
pub(crate) fn schema_of<T: JsonSchema>(title: &str) -> Schema {
    // Draft 7 is the one that every editor's YAML support knows.
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), json!(title));
    empty_sections_are_allowed(&mut schema);
    RecursiveTransform(one_line).transform(&mut schema);
    schema
}

/// Lets a section or a list that may be left out stand there without a value, as when all below it is commented out.
///
/// The section itself takes that, instead of a choice where it is referred to: of a choice an editor can only say that
/// nothing of it fits.
fn empty_sections_are_allowed(schema: &mut Schema) {
    let mut needed = BTreeSet::new();
    RecursiveTransform(|schema: &mut Schema| optional_fields(schema, &mut needed)).transform(schema);
    let Some(definitions) = schema.get_mut("definitions").and_then(Value::as_object_mut) else { return };
    for (name, definition) in definitions {
        if !needed.contains(&format!("#/definitions/{name}")) {
            or_null(definition);
        }
    }
}

/// Lets the optional fields of an object be empty, and collects the definitions that no emptiness may stand for.
fn optional_fields(schema: &mut Schema, needed: &mut BTreeSet<String>) {
    let Some(object) = schema.as_object_mut() else { return };
    needed.extend(object.get("items").and_then(reference));
    let required = object.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties {
        if required.iter().any(|field| field == name) {
            needed.extend(reference(property));
            continue;
        }
        or_null(property);
        // Of an optional section the reference is left; that it may be empty is said there.
        let section = property.get("anyOf").and_then(|choice| choice.get(0)).cloned();
        if let (Some(section), Some(property)) = (section, property.as_object_mut()) {
            property.remove("anyOf");
            property.insert("allOf".to_owned(), json!([section]));
        }
    }
}

/// The definition that a field refers to.
fn reference(property: &Value) -> Option<String> {
    let at = property.get("allOf").and_then(|all| all.get(0)).unwrap_or(property);
    at.get("$ref").and_then(Value::as_str).map(str::to_owned)
}

/// Lets an object or a list be empty.
fn or_null(schema: &mut Value) {
    if let Some(kind) = schema.get_mut("type")
        && (kind == "object" || kind == "array")
    {
        *kind = json!([kind, "null"]);
    }
}

/// Descriptions are paragraphs: the source's line breaks mean nothing.
fn one_line(schema: &mut Schema) {
    let Some(text) = schema.get("description").and_then(Value::as_str) else { return };
    let paragraphs: Vec<String> =
        text.split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    schema.insert("description".to_owned(), json!(paragraphs.join("\n\n")));
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The units of the crate humantime, without those that no policy needs.
        let unit = "(ms|msec|s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days|w|wk|wks|week|weeks)";
        json_schema!({
            "type": "string",
            "pattern": format!("^ *[0-9]+ *{unit}( *[0-9]+ *{unit})* *$"),
            "examples": ["30s", "5m", "1h 30m"],
        })
    }
}

impl JsonSchema for ApiVersion {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ApiVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": API_VERSION })
    }
}
