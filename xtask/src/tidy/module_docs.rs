//! Every Rust file says in its first line why it exists.

use super::Violation;
use crate::source::Source;

pub(super) fn check(source: &Source, found: &mut Vec<Violation>) {
    let first = source.text.lines().next().unwrap_or_default();
    let says_something = first.strip_prefix("//!").is_some_and(|reason| !reason.trim().is_empty());
    if !says_something {
        let message = "the file does not start with `//!` and its one reason to exist";
        found.push(Violation::new("module-docs", &source.path, 1, message));
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings;
    use super::*;

    #[test]
    fn the_first_line_is_the_reason() {
        let check_text = |text: &str| findings(check, "crates/x/src/y.rs", text);
        assert!(check_text("//! Splits bytes into frames.\nfn a() {}\n").is_empty());
        for text in ["", "fn a() {}\n", "//!\n//! Late.\n", "// Comment.\n", "\n//! Late.\n"] {
            assert_eq!(check_text(text), ["1 module-docs -"], "{text:?}");
        }
    }
}
