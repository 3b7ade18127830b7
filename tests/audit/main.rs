//! `lastgood audit` over ledgers made by the library, and over ledgers that somebody tampered with.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod fixture;
mod reading;
mod tamper;
