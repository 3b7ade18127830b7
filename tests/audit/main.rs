//! `lastgood audit` over ledgers made by the library, and over ledgers that somebody tampered with.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod branches;
mod export;
mod fixture;
mod reading;
mod stores;
mod tamper;

#[path = "../support/git_http.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod git_http;
#[path = "../support/git_repo.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod git_repo;
