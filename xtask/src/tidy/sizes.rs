//! Size rules: what a reader can take in at once.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItemFn, Item, ItemFn, Signature, TraitItemFn, Visibility};

use super::Violation;
use crate::source::{Source, is_test_only};

const FILE_LINES_MAX: usize = 800;
const LIB_LINES_MAX: usize = 250;
const FUNCTION_LINES_MAX: usize = 70;
const TEST_FUNCTION_LINES_MAX: usize = 100;
const PUBLIC_TYPES_MAX: usize = 7;
const COLUMNS_MAX: usize = 100;

pub(super) fn check(source: &Source, found: &mut Vec<Violation>) {
    check_file(source, found);
    check_columns(source, found);
    check_public_types(source, found);
    Functions { source, found }.visit_file(&source.file);
}

fn check_file(source: &Source, found: &mut Vec<Violation>) {
    let lines = source.lines_without_trailing_tests();
    if lines > FILE_LINES_MAX {
        let message = format!("{lines} lines without tests, at most {FILE_LINES_MAX}");
        found.push(Violation::new("file-lines", &source.path, 1, message));
    }
    if source.is_lib() && lines > LIB_LINES_MAX {
        let message = format!("{lines} lines in a lib.rs, at most {LIB_LINES_MAX}");
        found.push(Violation::new("lib-lines", &source.path, 1, message));
    }
}

fn check_columns(source: &Source, found: &mut Vec<Violation>) {
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let message = format!("{columns} columns, at most {COLUMNS_MAX}");
            found.push(Violation::new("columns", &source.path, index + 1, message));
        }
    }
}

fn check_public_types(source: &Source, found: &mut Vec<Violation>) {
    let count = public_types(&source.file.items);
    if count > PUBLIC_TYPES_MAX {
        let message = format!("{count} public types, at most {PUBLIC_TYPES_MAX}");
        found.push(Violation::new("public-types", &source.path, 1, message));
    }
}

fn public_types(items: &[Item]) -> usize {
    let public = |visibility: &Visibility| usize::from(matches!(visibility, Visibility::Public(_)));
    items
        .iter()
        .map(|item| match item {
            Item::Enum(item) => public(&item.vis),
            Item::Struct(item) => public(&item.vis),
            Item::Trait(item) => public(&item.vis),
            Item::Union(item) => public(&item.vis),
            Item::Mod(module) if !is_test_only(&module.attrs) => {
                module.content.as_ref().map_or(0, |(_, items)| public_types(items))
            }
            _ => 0,
        })
        .sum()
}

struct Functions<'a> {
    source: &'a Source,
    found: &'a mut Vec<Violation>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &Signature, block: &Block) {
        let first = signature.span().start().line;
        let lines = block.span().end().line + 1 - first;
        let max = if self.source.is_test_line(first) {
            TEST_FUNCTION_LINES_MAX
        } else {
            FUNCTION_LINES_MAX
        };
        if lines > max {
            let name = signature.ident.to_string();
            let message = format!("`{name}` has {lines} lines, at most {max}");
            let violation = Violation::new("function-lines", &self.source.path, first, message);
            self.found.push(violation.item(name));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

#[cfg(test)]
mod tests {
    use super::super::findings;
    use super::*;

    const PATH: &str = "crates/x/src/y.rs";

    fn lines(count: usize, line: &str) -> String {
        format!("{line}\n").repeat(count)
    }

    #[test]
    fn a_file_has_at_most_800_lines_without_tests() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(50, "    // test"));
        let full = lines(FILE_LINES_MAX, "//! line");
        assert!(findings(check, PATH, &format!("{full}{tests}")).is_empty());
        let over = lines(FILE_LINES_MAX + 1, "//! line");
        assert_eq!(findings(check, PATH, &format!("{over}{tests}")), ["1 file-lines -"]);
        assert_eq!(findings(check, "crates/x/tests/it/main.rs", &over), ["1 file-lines -"]);
    }

    #[test]
    fn a_lib_has_at_most_250_lines() {
        let path = "crates/x/src/lib.rs";
        assert!(findings(check, path, &lines(LIB_LINES_MAX, "//! line")).is_empty());
        assert_eq!(findings(check, path, &lines(LIB_LINES_MAX + 1, "//! line")), ["1 lib-lines -"]);
    }

    #[test]
    fn a_function_has_at_most_70_lines_with_its_signature() {
        let function = |body: usize| format!("fn long(\n) {{\n{}}}\n", lines(body, "    a();"));
        assert!(findings(check, PATH, &function(67)).is_empty());
        assert_eq!(findings(check, PATH, &function(68)), ["1 function-lines long"]);
        let method = format!("struct S;\nimpl S {{\n{}}}\n", function(68));
        assert_eq!(findings(check, PATH, &method), ["3 function-lines long"]);
        let provided = format!("trait T {{\n{}}}\n", function(68));
        assert_eq!(findings(check, PATH, &provided), ["2 function-lines long"]);
    }

    #[test]
    fn attributes_and_docs_of_a_function_do_not_count() {
        let text = format!("{}fn a() {{\n{}}}\n", lines(9, "/// Doc."), lines(68, "    a();"));
        assert!(findings(check, PATH, &text).is_empty());
    }

    #[test]
    fn a_test_function_has_at_most_100_lines() {
        let test = |body: usize| format!("#[test]\nfn t() {{\n{}}}\n", lines(body, "    a();"));
        assert!(findings(check, PATH, &test(98)).is_empty());
        assert_eq!(findings(check, PATH, &test(99)), ["2 function-lines t"]);
    }

    #[test]
    fn a_file_has_at_most_seven_public_types() {
        let types = |count: usize| -> String {
            (0..count).map(|number| format!("pub struct S{number};\n")).collect()
        };
        let rest = "pub(crate) struct A;\nstruct B;\npub type C = u8;\n";
        assert!(findings(check, PATH, &format!("{}{rest}", types(7))).is_empty());
        let text = format!("{}pub enum E {{}}\n", types(7));
        assert_eq!(findings(check, PATH, &text), ["1 public-types -"]);
        let text = format!("{}pub mod m {{ pub trait T {{}} }}\n", types(7));
        assert_eq!(findings(check, PATH, &text), ["1 public-types -"]);
    }

    #[test]
    fn a_line_has_at_most_100_columns_counted_in_characters() {
        let line = |columns: usize| format!("// {}\n", "ü".repeat(columns - 3));
        assert!(findings(check, PATH, &line(100)).is_empty());
        assert_eq!(findings(check, PATH, &line(101)), ["1 columns -"]);
    }
}
