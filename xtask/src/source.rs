//! One parsed Rust file, and which of its lines are tests.

use std::ops::RangeInclusive;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, Item, ItemFn, ItemMod, Meta};

/// A Rust file with its path relative to the project's root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) file: syn::File,
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self> {
        let file = syn::parse_file(text).with_context(|| format!("cannot parse {path}"))?;
        let mut finder = TestFinder { lines: Vec::new() };
        finder.visit_file(&file);
        Ok(Self { path: path.to_owned(), text: text.to_owned(), file, test_lines: finder.lines })
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test_file(&self) -> bool {
        is_test_path(&self.path)
    }

    /// Whether this line (counted from 1) belongs to a test or a test module.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// Lines of the file without the test module at its end.
    pub(crate) fn lines_without_trailing_tests(&self) -> usize {
        let lines = self.text.lines().count();
        match self.file.items.last() {
            Some(Item::Mod(module)) if is_test_only(&module.attrs) => {
                let span = module.span();
                lines - (span.end().line + 1 - span.start().line)
            }
            _ => lines,
        }
    }

    pub(crate) fn is_lib(&self) -> bool {
        self.path.ends_with("src/lib.rs")
    }

    /// The crate's folder name, for a file below `crates/`.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }
}

/// Whether a path is test code as a whole: a file of `tests/`, or an out-of-line test module.
pub(crate) fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

/// Whether the attributes confine an item to test builds.
pub(crate) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => names_test(list.tokens.clone()),
        _ => false,
    })
}

/// Whether the attributes mark a test function, whatever the test attribute's path.
pub(crate) fn is_test_function(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
    })
}

fn names_test(tokens: TokenStream) -> bool {
    let mut negated = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => {
            negated = ident == "not" || ident == "any";
            ident == "test"
        }
        TokenTree::Group(group) => !negated && names_test(group.stream()),
        _ => false,
    })
}

struct TestFinder {
    lines: Vec<RangeInclusive<usize>>,
}

impl TestFinder {
    fn note(&mut self, item: &impl Spanned) {
        let span = item.span();
        self.lines.push(span.start().line..=span.end().line);
    }
}

impl<'ast> Visit<'ast> for TestFinder {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if is_test_only(&module.attrs) {
            self.note(module);
        } else {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if is_test_only(&function.attrs) || is_test_function(&function.attrs) {
            self.note(function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if is_test_only(&function.attrs) {
            self.note(function);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_test_module_is_not_counted() {
        let text = "//! Doc.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        let source = Source::parse("crates/x/src/y.rs", text).unwrap();
        assert_eq!(source.lines_without_trailing_tests(), 2);
        assert!(!source.is_test_line(2));
        assert!(source.is_test_line(3) && source.is_test_line(5));
    }

    #[test]
    fn only_a_positive_condition_makes_test_code() {
        let check = |condition: &str, expected: bool| {
            let text = format!("//! Doc.\n#[cfg({condition})]\nmod m {{}}\n");
            let source = Source::parse("crates/x/src/y.rs", &text).unwrap();
            assert_eq!(source.is_test_line(3), expected, "{condition}");
        };
        check("test", true);
        check("all(test, unix)", true);
        check("not(test)", false);
        check("any(test, feature = \"x\")", false);
        check("feature = \"test\"", false);
    }

    #[test]
    fn test_folders_are_test_code() {
        assert!(is_test_path("crates/x/tests/it/main.rs"));
        assert!(is_test_path("crates/x/src/y/tests.rs"));
        assert!(is_test_path("crates/x/src/topic_tests.rs"));
        assert!(!is_test_path("crates/noctule-testkit/src/lib.rs"));
    }
}
