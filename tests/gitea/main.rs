//! A real Gitea: what it refuses, and pull requests with labels, reviewers, auto-merge, and what becomes of them.
//!
//! `cargo xtask test --gitea` builds Gitea first. One serves all tests; each has a repository of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail"
)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::unused_self,
    reason = "a shop's verbs read the same, whatever each of them needs"
)]

#[path = "../support/gitea.rs"]
mod gitea;
#[allow(dead_code, reason = "the cluster's tests use the rest")]
#[path = "../cluster/process.rs"]
mod process;
#[allow(dead_code, reason = "the cluster's tests use the rest")]
#[path = "../cluster/rundir.rs"]
mod rundir;

mod pull_requests;
mod refusals;
mod rollback;
mod shop;
