//! What of a write is stored: the parts that it may change, and the generation.

use serde_json::{Value, json};

use super::kinds::{Generation, Resource};
use crate::sandbox::json::{at, number, remove, set};

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but `status`, where that is a subresource.
    Main,
    /// Only `status`.
    Status,
}

/// Puts together what is stored: only the part that may change, and metadata that clients cannot set.
pub(super) fn merge_parts(resource: &Resource, part: Part, current: &Value, wanted: Value) -> Value {
    let mut next = match part {
        Part::Main => {
            let mut next = wanted;
            if resource.status {
                copy(&mut next, current, &["status"]);
            }
            next
        }
        Part::Status => {
            let mut next = current.clone();
            copy(&mut next, &wanted, &["status"]);
            // Built-in workloads let their controllers annotate through the status, without a new generation.
            if resource.generation == Generation::SpecOrAnnotations {
                copy(&mut next, &wanted, &["metadata", "annotations"]);
            }
            next
        }
    };
    for fixed in ["name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion"] {
        copy(&mut next, current, &["metadata", fixed]);
    }
    for fixed in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        copy(&mut next, current, &["metadata", fixed]);
    }
    copy(&mut next, current, &["apiVersion"]);
    copy(&mut next, current, &["kind"]);
    if part == Part::Main && moves_generation(resource, current, &next) {
        let generation = number(current, "/metadata/generation").unwrap_or_default() + 1;
        set(&mut next, &["metadata", "generation"], json!(generation));
    }
    next
}

fn copy(to: &mut Value, from: &Value, path: &[&str]) {
    let mut at = from;
    for key in path {
        match at.get(*key) {
            Some(next) => at = next,
            None => return remove(to, path),
        }
    }
    set(to, path, at.clone());
}

fn moves_generation(resource: &Resource, current: &Value, next: &Value) -> bool {
    let differs = |pointer: &str| at(current, pointer) != at(next, pointer);
    match resource.generation {
        Generation::None => false,
        Generation::Spec => differs("/spec"),
        Generation::SpecOrAnnotations => differs("/spec") || differs("/metadata/annotations"),
        Generation::Anything => {
            let without_metadata = |object: &Value| {
                let mut object = object.clone();
                remove(&mut object, &["metadata"]);
                object
            };
            without_metadata(current) != without_metadata(next)
        }
    }
}
