//! How many crates of others a user of a client takes in: few, and not more by accident.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Violation;
use super::edges::{cargo, is_ours};
use crate::tree::Tree;

/// The most third-party crates in a crate's tree of normal dependencies, with default features, on
/// this host.
const CRATES_MAX: [(&str, usize); 2] = [("noctule-client-core", 6), ("noctule-client", 60)];

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) -> Result<()> {
    for (package, max) in CRATES_MAX {
        let arguments = ["tree", "--package", package, "--edges", "normal", "--prefix", "none"];
        check_count(package, max, &cargo(tree, &arguments)?, found);
    }
    Ok(())
}

fn check_count(package: &str, max: usize, resolved: &str, found: &mut Vec<Violation>) {
    let crates = third_party(resolved);
    if crates.len() > max {
        let names = crates.iter().map(|(name, version)| format!("{name} {version}"));
        let names = names.collect::<Vec<_>>().join(", ");
        let count = crates.len();
        let message = format!("{package} has {count} third-party crates, at most {max}: {names}");
        let path = format!("crates/{package}/Cargo.toml");
        found.push(Violation::new("third-party", &path, 1, message).item(package));
    }
}

/// The name and the version of each, once. Two versions of one crate are two crates.
fn third_party(resolved: &str) -> BTreeSet<(&str, &str)> {
    let packages = resolved.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().zip(words.next())
    });
    packages.filter(|(name, _)| !is_ours(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOLVED: &str = "noctule-client v0.1.0 (/x)\nnoctule-packet v0.1.0 (/y)\n\
        memchr v2.8.0\nsyn v2.0.1\nsyn v3.0.9\nderive v1.0.0 (proc-macro)\n\n\
        noctule-packet v0.1.0 (/y) (*)\nmemchr v2.8.0 (*)\n";

    fn problems(max: usize) -> Vec<String> {
        let mut found = Vec::new();
        check_count("noctule-client", max, RESOLVED, &mut found);
        found.into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn every_version_of_a_third_party_crate_counts_once() {
        let expected =
            [("derive", "v1.0.0"), ("memchr", "v2.8.0"), ("syn", "v2.0.1"), ("syn", "v3.0.9")];
        assert_eq!(third_party(RESOLVED), BTreeSet::from(expected));
    }

    #[test]
    fn more_third_party_crates_than_allowed_are_named() {
        assert!(problems(4).is_empty());
        let names = "derive v1.0.0, memchr v2.8.0, syn v2.0.1, syn v3.0.9";
        let expected = format!("noctule-client has 4 third-party crates, at most 3: {names}");
        assert_eq!(problems(3), [expected]);
    }
}
