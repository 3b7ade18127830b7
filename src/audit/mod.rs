//! Whether a ledger is what it was when it was written: pure checks over its files.
//!
//! Nothing here reads a file or a repository, or knows the time: `cli/audit/` brings what is checked.

pub mod chain;
mod finding;
mod leaf;

pub use finding::{Code, Finding, Place};
pub use leaf::Leaf;
