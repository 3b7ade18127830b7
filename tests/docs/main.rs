//! Files that are generated from the code, or must agree with it. `BLESS=1` writes the generated ones anew.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod audit;
mod check;
mod cli;
mod journal;
mod policy;
mod prose;
mod replay;
mod revert;
mod schema;
mod source;

#[path = "../support/history.rs"]
mod history;
#[path = "../audit/fixture.rs"]
#[allow(dead_code, reason = "the tests of the command need more of it")]
mod ledger;

use std::path::{Path, PathBuf};

use kube::CustomResourceExt as _;
use lastgood::record::state::kube::LastGood;

/// A path in the checkout.
fn in_checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_checkout(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares a generated file with what the code says now.
#[track_caller]
fn check(path: &str, generated: &str) {
    let file = in_checkout(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, generated).expect("the checkout can be written to");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(written, generated, "{path} is out of date; run: BLESS=1 cargo test --test docs");
}

#[test]
fn the_crd_is_that_of_the_rust_type() {
    let yaml = serde_saphyr::to_string(&LastGood::crd()).expect("a CRD is plain data");
    check("deploy/crd.yaml", &format!("# Generated from src/record/state/kube.rs.\n{}\n", yaml.trim_end()));
}
