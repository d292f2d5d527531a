//! The pages for readers stay true: the files and functions that they name exist.

use std::collections::BTreeSet;

use anyhow::Result;
use syn::visit::{self, Visit};
use syn::{ImplItemFn, ItemFn, ItemImpl, ItemTrait, TraitItemFn, Type};

use super::Violation;
use crate::source::Source;
use crate::tree::Tree;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const LIFE_OF_A_PUBLISH: &str = "docs/life-of-a-publish.md";

pub(super) fn check(tree: &Tree, sources: &[Source], found: &mut Vec<Violation>) -> Result<()> {
    for page in tree.paths().iter().filter(|path| is_page(path)) {
        let text = tree.read(page)?;
        check_paths(page, &text, tree.paths(), found);
        if page == LIFE_OF_A_PUBLISH {
            check_functions(page, &text, sources, found);
        }
    }
    Ok(())
}

fn is_page(path: &str) -> bool {
    let in_docs = path.strip_prefix("docs/").is_some_and(|name| !name.contains('/'));
    path == ARCHITECTURE || (in_docs && path.ends_with(".md"))
}

/// Every `` `path.rs` `` names a file, either in full or by the end of its path.
fn check_paths(page: &str, text: &str, paths: &[String], found: &mut Vec<Violation>) {
    for (index, line) in text.lines().enumerate() {
        for quoted in quoted(line).filter(|quoted| is_rust_path(quoted)) {
            for named in expand(quoted) {
                if !paths.iter().any(|path| is_meant(path, &named)) {
                    let message = format!("`{named}` does not exist");
                    let violation = Violation::new("page-path", page, index + 1, message);
                    found.push(violation.item(named));
                }
            }
        }
    }
}

/// Every table row with `` `path.rs` `` in one cell names functions of that file in the next.
fn check_functions(page: &str, text: &str, sources: &[Source], found: &mut Vec<Violation>) {
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').collect();
        let holds_path = |cell: &&str| quoted(cell).any(is_rust_path);
        let Some(position) = cells.iter().position(holds_path) else { continue };
        let files: Vec<String> = quoted(cells[position])
            .filter(|quoted| is_rust_path(quoted))
            .flat_map(expand)
            .collect();
        let named_files =
            sources.iter().filter(|source| files.iter().any(|file| is_meant(&source.path, file)));
        let known: BTreeSet<String> = named_files.flat_map(function_names).collect();
        let next = cells.get(position + 1).copied().unwrap_or_default();
        for function in quoted(next).filter(|function| !known.contains(*function)) {
            let message = format!("{} has no function `{function}`", files.join(", "));
            let violation = Violation::new("page-function", page, index + 1, message);
            found.push(violation.item(function));
        }
    }
}

fn is_rust_path(quoted: &str) -> bool {
    quoted.ends_with(".rs") && !quoted.contains(['*', ' ', '<'])
}

fn is_meant(path: &str, named: &str) -> bool {
    path == named || path.strip_suffix(named).is_some_and(|start| start.ends_with('/'))
}

/// The parts of a line between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Writes out one pair of braces: `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn expand(path: &str) -> Vec<String> {
    let parts = path
        .split_once('{')
        .and_then(|(start, rest)| rest.split_once('}').map(|(choices, end)| (start, choices, end)));
    match parts {
        None => vec![path.to_owned()],
        Some((start, choices, end)) => {
            choices.split(',').map(|choice| format!("{start}{}{end}", choice.trim())).collect()
        }
    }
}

/// Every function of a file as `name`, and if it belongs to a type also as `Type::name`.
fn function_names(source: &Source) -> BTreeSet<String> {
    let mut functions = Functions { owner: None, names: BTreeSet::new() };
    functions.visit_file(&source.file);
    functions.names
}

struct Functions {
    owner: Option<String>,
    names: BTreeSet<String>,
}

impl Functions {
    fn note(&mut self, name: &syn::Ident) {
        self.names.insert(name.to_string());
        if let Some(owner) = &self.owner {
            self.names.insert(format!("{owner}::{name}"));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        let owner = match &*block.self_ty {
            Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let outer = std::mem::replace(&mut self.owner, owner);
        visit::visit_item_impl(self, block);
        self.owner = outer;
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        let outer = self.owner.replace(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.owner = outer;
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.note(&function.sig.ident);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.note(&function.sig.ident);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        self.note(&function.sig.ident);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(found: Vec<Violation>) -> Vec<String> {
        found.into_iter().filter_map(|violation| violation.item).collect()
    }

    fn missing_paths(text: &str) -> Vec<String> {
        let paths = ["crates/a/src/framing.rs".to_owned(), "crates/a/src/publish.rs".to_owned()];
        let mut found = Vec::new();
        check_paths(ARCHITECTURE, text, &paths, &mut found);
        items(found)
    }

    #[test]
    fn named_files_exist() {
        assert!(
            missing_paths("see `crates/a/src/publish.rs` or `publish.rs`, not x.rs").is_empty()
        );
        assert!(missing_paths("see `a/src/{framing, publish}.rs` and `*.rs`").is_empty());
        assert_eq!(missing_paths("see `a/src/{framing,gone}.rs`"), ["a/src/gone.rs"]);
        assert_eq!(missing_paths("see `lish.rs`"), ["lish.rs"]);
    }

    fn missing_functions(text: &str) -> Vec<String> {
        let code = "fn route() {}\nimpl Publish { fn decode() {} }\ntrait T { fn ask(); }\n";
        let sources = [Source::parse("crates/a/src/publish.rs", code).unwrap()];
        let mut found = Vec::new();
        check_functions(LIFE_OF_A_PUBLISH, text, &sources, &mut found);
        items(found)
    }

    #[test]
    fn named_functions_exist() {
        let row = |functions: &str| format!("| 1 | **`crates/a/src/publish.rs`** | {functions} |");
        assert!(missing_functions(&row("`route`")).is_empty());
        assert!(missing_functions(&row("`Publish::decode` then `decode`, `T::ask`")).is_empty());
        assert_eq!(missing_functions(&row("`route`, `deliver`")), ["deliver"]);
        assert_eq!(missing_functions(&row("`Connect::decode`")), ["Connect::decode"]);
        assert_eq!(missing_functions("| 1 | `gone.rs` | `route` |"), ["route"]);
        assert!(missing_functions("`crates/a/src/publish.rs` and `deliver`").is_empty());
    }

    #[test]
    fn pages_are_the_architecture_and_the_top_of_docs() {
        assert!(is_page("ARCHITECTURE.md") && is_page("docs/life-of-a-publish.md"));
        assert!(!is_page("docs/decisions/0001-x.md") && !is_page("README.md"));
    }
}
