//! The sandbox behaves like what it stands in for, seen through the same clients that lastgood uses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod apiserver;
mod demo;
mod prometheus;
mod reconciler;
mod world;
