//! `cargo xtask tidy`: style rules as tests, with an allow-list that gives reasons.

mod allowlist;
mod edges;
mod module_docs;
mod names;
mod pages;
mod purity;
mod reasons;
mod sizes;
mod third_party;
mod wording;

use std::fmt;

use anyhow::{Result, bail};

pub(crate) use self::edges::pure_crates;
use crate::source::Source;
use crate::tree::Tree;

/// One place that breaks one rule.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Violation {
    path: String,
    line: usize,
    rule: &'static str,
    /// What an allow-list entry can name instead of excusing the whole file.
    item: Option<String>,
    message: String,
}

impl Violation {
    fn new(rule: &'static str, path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, item: None, message: message.into() }
    }

    fn item(mut self, item: impl Into<String>) -> Self {
        self.item = Some(item.into());
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.message)
    }
}

/// Runs every rule over the tree and fails if one is broken.
pub(crate) fn run(tree: &Tree) -> Result<()> {
    let mut found = Vec::new();
    let sources = parse_sources(tree, &mut found)?;
    for source in &sources {
        sizes::check(source, &mut found);
        names::check(source, &mut found);
        module_docs::check(source, &mut found);
        reasons::check(source, &mut found);
        purity::check_source(source, &mut found);
    }
    purity::check_crates(tree, &mut found)?;
    edges::check(tree, &mut found)?;
    third_party::check(tree, &mut found)?;
    wording::check(tree, &mut found)?;
    pages::check(tree, &sources, &mut found)?;

    let allowed = allowlist::load(tree)?;
    let mut left = allowed.apply(found);
    left.sort();
    for violation in &left {
        eprintln!("{violation}");
    }
    if !left.is_empty() {
        bail!("tidy: {} violations in {} Rust files", left.len(), sources.len());
    }
    println!("tidy: {} Rust files, {} files in all", sources.len(), tree.paths().len());
    Ok(())
}

fn parse_sources(tree: &Tree, found: &mut Vec<Violation>) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in tree.paths().iter().filter(|path| path.ends_with(".rs")) {
        match Source::parse(path, &tree.read(path)?) {
            Ok(source) => sources.push(source),
            Err(error) => found.push(Violation::new("parse", path, 1, format!("{error:#}"))),
        }
    }
    Ok(sources)
}

/// Runs one rule on an inline file and returns what it found as `line rule item`.
#[cfg(test)]
fn findings(rule: fn(&Source, &mut Vec<Violation>), path: &str, text: &str) -> Vec<String> {
    let source = Source::parse(path, text).unwrap();
    let mut found = Vec::new();
    rule(&source, &mut found);
    found.sort();
    found
        .iter()
        .map(|violation| {
            let item = violation.item.as_deref().unwrap_or("-");
            format!("{} {} {item}", violation.line, violation.rule)
        })
        .collect()
}
