//! The administration binary.
fn main() {}
