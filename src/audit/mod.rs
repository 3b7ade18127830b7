//! Whether a ledger is what it was when it was written: pure checks over its files, its commits, and the reverts that it
//! names.
//!
//! And records in the forms that others read: lines for tools, a page for auditors. Nothing here reads a file or a repository, or knows the time: `cli/audit/` brings what is checked.

pub mod chain;
mod claim;
pub mod export;
mod finding;
pub mod history;
mod leaf;
mod placed;
pub mod report;
pub mod reverts;

pub use claim::{Claim, Named, Part};
pub use finding::{Code, Finding, Place};
pub use leaf::Leaf;
pub use placed::Placed;
