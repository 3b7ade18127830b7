//! Development tasks: `cargo xtask test`.
fn main() {}
