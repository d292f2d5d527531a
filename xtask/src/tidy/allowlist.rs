//! The allow-list `xtask/tidy.toml`: which violations are accepted, and why.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Violation;
use crate::tree::Tree;

const PATH: &str = "xtask/tidy.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allowlist {
    #[serde(default, rename = "allow")]
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    rule: String,
    path: String,
    item: Option<String>,
    reason: String,
}

impl Entry {
    fn covers(&self, violation: &Violation) -> bool {
        self.rule == violation.rule
            && self.path == violation.path
            && (self.item.is_none() || self.item == violation.item)
    }
}

pub(super) fn load(tree: &Tree) -> Result<Allowlist> {
    if !tree.contains(PATH) {
        return Ok(Allowlist::default());
    }
    parse(&tree.read(PATH)?)
}

fn parse(text: &str) -> Result<Allowlist> {
    toml::from_str(text).with_context(|| format!("cannot parse {PATH}"))
}

impl Allowlist {
    /// Takes the excused violations away, and adds one for each entry that is not needed.
    pub(super) fn apply(&self, found: Vec<Violation>) -> Vec<Violation> {
        let mut used = vec![false; self.entries.len()];
        let mut left = Vec::new();
        for violation in found {
            let mut excused = false;
            for (entry, used) in self.entries.iter().zip(&mut used) {
                if entry.covers(&violation) {
                    *used = true;
                    excused = true;
                }
            }
            if !excused {
                left.push(violation);
            }
        }
        for (entry, used) in self.entries.iter().zip(used) {
            let item = entry.item.as_deref().unwrap_or("the whole file");
            let what = format!("the entry for {} in {} ({item})", entry.rule, entry.path);
            if !used {
                let message = format!("{what} excuses nothing: remove it");
                left.push(Violation::new("allow-unused", PATH, 1, message));
            }
            if entry.reason.trim().is_empty() {
                let message = format!("{what} gives no reason");
                left.push(Violation::new("allow-reason", PATH, 1, message));
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(item: &str) -> Violation {
        Violation::new("function-lines", "crates/x/src/y.rs", 7, "too long").item(item)
    }

    fn rules(allowlist: &str, found: Vec<Violation>) -> Vec<&'static str> {
        let left = parse(allowlist).unwrap().apply(found);
        left.iter().map(|violation| violation.rule).collect()
    }

    const ENTRY: &str = "[[allow]]\nrule = \"function-lines\"\npath = \"crates/x/src/y.rs\"\n";

    #[test]
    fn an_entry_excuses_only_its_item() {
        let text = format!("{ENTRY}item = \"decode\"\nreason = \"a table\"\n");
        assert!(rules(&text, vec![violation("decode")]).is_empty());
        let both = vec![violation("decode"), violation("encode")];
        assert_eq!(rules(&text, both), ["function-lines"]);
    }

    #[test]
    fn an_entry_without_item_excuses_the_file() {
        let text = format!("{ENTRY}reason = \"generated\"\n");
        assert!(rules(&text, vec![violation("decode"), violation("encode")]).is_empty());
    }

    #[test]
    fn an_unused_entry_and_an_empty_reason_are_errors() {
        let text = format!("{ENTRY}reason = \" \"\n");
        assert_eq!(rules(&text, vec![]), ["allow-unused", "allow-reason"]);
        assert_eq!(rules(&text, vec![violation("decode")]), ["allow-reason"]);
    }

    #[test]
    fn an_entry_without_reason_or_with_an_unknown_key_does_not_parse() {
        assert!(parse(ENTRY).is_err());
        assert!(parse(&format!("{ENTRY}reason = \"r\"\nuntil = \"later\"\n")).is_err());
    }
}
