//! The pure crates: no unsafe code, no panics, no clock, no default hasher, no world outside.

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ExprMethodCall, Macro, Meta};

use super::{Violation, edges};
use crate::source::Source;
use crate::tree::Tree;

const PANICKING_METHODS: [&str; 4] = ["expect", "expect_err", "unwrap", "unwrap_err"];
const PANICKING_MACROS: [&str; 2] = ["panic", "unreachable"];
/// Modules of std that touch the world. What of them is pure is also in `core`.
const OUTSIDE_MODULES: [&str; 7] = ["env", "fs", "net", "os", "process", "thread", "time"];

/// What each pure crate's clippy.toml has to forbid, by key.
const FORBIDDEN_BY_CLIPPY: [(&str, &[&str]); 2] = [
    (
        "disallowed-methods",
        &["std::time::SystemTime::now", "std::time::Instant::now", "std::thread::spawn"],
    ),
    ("disallowed-types", &["std::collections::HashMap", "std::collections::HashSet"]),
];

pub(super) fn check_source(source: &Source, found: &mut Vec<Violation>) {
    let is_pure_code = source.crate_name().is_some_and(edges::is_pure)
        && source.path.contains("/src/")
        && !source.is_test_file();
    if !is_pure_code {
        return;
    }
    if source.is_lib() && !source.file.attrs.iter().any(forbids_unsafe_code) {
        let message = "a pure crate starts with `#![forbid(unsafe_code)]`";
        found.push(Violation::new("unsafe-code", &source.path, 1, message));
    }
    let mut purity = Purity { source, found };
    purity.visit_file(&source.file);
    if let Ok(tokens) = source.text.parse() {
        purity.check_paths(tokens);
    }
}

fn forbids_unsafe_code(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("forbid") && list.tokens.to_string().contains("unsafe_code")
}

struct Purity<'a> {
    source: &'a Source,
    found: &'a mut Vec<Violation>,
}

impl Purity<'_> {
    fn report(&mut self, rule: &'static str, line: usize, item: &str, message: &str) {
        if !self.source.is_test_line(line) {
            let message = format!("`{item}` {message}");
            self.found.push(Violation::new(rule, &self.source.path, line, message).item(item));
        }
    }

    fn check_paths(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(ident)
                    if *ident == "std" && is_path_separator(&tokens[index + 1..]) =>
                {
                    self.check_std(tokens.get(index + 3));
                }
                TokenTree::Group(group) => self.check_paths(group.stream()),
                _ => {}
            }
        }
    }

    /// Checks what follows `std::`: one name, or a group of which each part starts with a name.
    fn check_std(&mut self, next: Option<&TokenTree>) {
        match next {
            Some(TokenTree::Ident(name)) if OUTSIDE_MODULES.iter().any(|known| name == known) => {
                let line = name.span().start().line;
                let item = format!("std::{name}");
                self.report("outside-world", line, &item, "is not for a pure crate");
            }
            Some(TokenTree::Group(group)) => {
                let mut starts = true;
                for token in group.stream() {
                    if starts {
                        self.check_std(Some(&token));
                    }
                    starts = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
                }
            }
            _ => {}
        }
    }
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    let is_colon =
        |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    matches!(tokens, [first, second, ..] if is_colon(first) && is_colon(second))
}

impl<'ast> Visit<'ast> for Purity<'_> {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if PANICKING_METHODS.iter().any(|name| call.method == name) {
            let line = call.method.span().start().line;
            self.report("panic", line, &call.method.to_string(), "can panic in a pure crate");
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        let name = invocation.path.segments.last().map(|segment| segment.ident.to_string());
        if let Some(name) = name.filter(|name| PANICKING_MACROS.contains(&name.as_str())) {
            let line = invocation.span().start().line;
            self.report("panic", line, &name, "panics in a pure crate");
        }
    }
}

/// Checks that each pure crate carries a clippy.toml, which replaces the root's and so repeats it.
pub(super) fn check_crates(tree: &Tree, found: &mut Vec<Violation>) -> Result<()> {
    let root: toml::Table = match tree.contains("clippy.toml") {
        true => toml::from_str(&tree.read("clippy.toml")?).context("cannot parse clippy.toml")?,
        false => toml::Table::new(),
    };
    for manifest in tree.paths() {
        let name = manifest.strip_prefix("crates/").and_then(|p| p.strip_suffix("/Cargo.toml"));
        let Some(name) = name.filter(|name| edges::is_pure(name)) else { continue };
        let path = format!("crates/{name}/clippy.toml");
        if !tree.contains(&path) {
            let message = "a pure crate has a clippy.toml that forbids clock, threads and hasher";
            found.push(Violation::new("clippy-toml", &path, 1, message));
            continue;
        }
        let own =
            toml::from_str(&tree.read(&path)?).with_context(|| format!("cannot parse {path}"))?;
        check_clippy(&path, &root, &own, found);
    }
    Ok(())
}

fn check_clippy(path: &str, root: &toml::Table, own: &toml::Table, found: &mut Vec<Violation>) {
    let mut report = |message: String| found.push(Violation::new("clippy-toml", path, 1, message));
    for (key, required) in FORBIDDEN_BY_CLIPPY {
        for name in required {
            if !entries(own, key).iter().any(|entry| entry_path(entry) == Some(name)) {
                report(format!("`{key}` does not name {name}"));
            }
        }
    }
    for (key, value) in root {
        let repeated = match value {
            toml::Value::Array(_) => {
                entries(root, key).iter().all(|entry| entries(own, key).contains(entry))
            }
            _ => own.get(key) == Some(value),
        };
        if !repeated {
            report(format!("it replaces the root's clippy.toml, so it repeats `{key}` from there"));
        }
    }
}

fn entries<'a>(table: &'a toml::Table, key: &str) -> &'a [toml::Value] {
    table.get(key).and_then(toml::Value::as_array).map_or(&[], Vec::as_slice)
}

fn entry_path(entry: &toml::Value) -> Option<&str> {
    entry.as_str().or_else(|| entry.get("path")?.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::findings;
    use super::*;

    const PURE: &str = "crates/noctule-session/src/sender.rs";

    fn check_text(text: &str) -> Vec<String> {
        findings(check_source, PURE, text)
    }

    #[test]
    fn a_pure_lib_forbids_unsafe_code() {
        let lib = "crates/noctule-session/src/lib.rs";
        assert_eq!(findings(check_source, lib, "//! Doc.\n"), ["1 unsafe-code -"]);
        let clean = "//! Doc.\n#![forbid(unsafe_code)]\n";
        assert!(findings(check_source, lib, clean).is_empty());
        assert!(findings(check_source, "crates/noctule/src/lib.rs", "//! Doc.\n").is_empty());
    }

    #[test]
    fn pure_code_does_not_panic() {
        assert_eq!(check_text("fn a() { b().unwrap() }"), ["1 panic unwrap"]);
        assert_eq!(check_text("fn a() { b().expect(\"c\") }"), ["1 panic expect"]);
        assert_eq!(check_text("fn a() { unreachable!() }"), ["1 panic unreachable"]);
        assert!(check_text("fn a() { b().unwrap_or(1); debug_assert!(c); }").is_empty());
    }

    #[test]
    fn tests_and_other_crates_may_panic() {
        assert!(check_text("#[cfg(test)]\nmod tests { fn a() { b().unwrap() } }").is_empty());
        let test = "crates/noctule-session/tests/it/main.rs";
        assert!(findings(check_source, test, "fn a() { b().unwrap() }").is_empty());
        let broker = "crates/noctule-broker/src/shard.rs";
        assert!(findings(check_source, broker, "fn a() { panic!() }").is_empty());
    }

    #[test]
    fn pure_code_does_not_touch_the_world() {
        assert_eq!(check_text("use std::net::TcpStream;"), ["1 outside-world std::net"]);
        assert_eq!(check_text("use std::{fmt, fs};"), ["1 outside-world std::fs"]);
        assert_eq!(
            check_text("fn a() { std::thread::yield_now() }"),
            ["1 outside-world std::thread"]
        );
        assert!(check_text("use core::time::Duration;\nuse std::{fmt, net_x, a::fs};").is_empty());
    }

    const FULL: &str = r#"
        msrv = "1.88"
        disallowed-methods = [
            { path = "std::time::SystemTime::now", reason = "r" },
            { path = "std::time::Instant::now", reason = "r" },
            "std::thread::spawn",
        ]
        disallowed-types = ["std::collections::HashMap", "std::collections::HashSet"]
    "#;

    fn clippy_problems(root: &str, own: &str) -> usize {
        let mut found = Vec::new();
        let (root, own) = (toml::from_str(root).unwrap(), toml::from_str(own).unwrap());
        check_clippy("clippy.toml", &root, &own, &mut found);
        found.len()
    }

    #[test]
    fn the_clippy_file_of_a_pure_crate_forbids_what_is_not_pure() {
        assert_eq!(clippy_problems("", FULL), 0);
        assert_eq!(clippy_problems("", ""), 5);
        assert_eq!(clippy_problems("", &FULL.replace("Instant::now", "Instant::elapsed")), 1);
    }

    #[test]
    fn the_clippy_file_of_a_pure_crate_repeats_the_root() {
        assert_eq!(clippy_problems("msrv = \"1.88\"", FULL), 0);
        assert_eq!(clippy_problems("msrv = \"1.90\"", FULL), 1);
        assert_eq!(clippy_problems("disallowed-methods = [\"std::thread::spawn\"]", FULL), 0);
        assert_eq!(clippy_problems("disallowed-names = [\"foo\"]", FULL), 1);
    }
}
