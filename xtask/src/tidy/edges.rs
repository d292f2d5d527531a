//! The crates' dependency edges: arrows only point down, and the pure crates stay pure.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::Violation;
use crate::tree::Tree;

/// Every crate with its level in ARCHITECTURE.md's picture. An edge leads to a lower level.
const LEVELS: [(&str, u8); 14] = [
    ("noctule-packet", 0),
    ("noctule-session", 1),
    ("noctule-auth", 1),
    ("noctule-broker-core", 2),
    ("noctule-client-core", 2),
    ("noctule-store", 3),
    ("noctule-cluster", 3),
    ("noctule-transport", 3),
    ("noctule-broker", 4),
    ("noctule-client", 4),
    ("noctule-client-blocking", 5),
    ("noctule-client-wasm", 5),
    ("noctule-client-aws", 5),
    ("noctule", BINARY_LEVEL),
];
const BINARY_LEVEL: u8 = 6;
const PURE_LEVEL_MAX: u8 = 2;

/// Crates that serve tests and measurements only.
const DEV_ONLY: [&str; 3] = ["noctule-bench", "noctule-sim", "noctule-testkit"];

/// Packages that must not be in a crate's resolved tree of normal dependencies.
const FORBIDDEN_IN_PURE: [&str; 3] = ["mio", "socket2", "tokio"];
const FORBIDDEN_ELSEWHERE: [(&str, &str); 5] = [
    ("noctule-client", "openssl-sys"),
    ("noctule-client-blocking", "openssl-sys"),
    ("noctule-client-blocking", "tokio"),
    ("noctule-client-wasm", "tokio"),
    ("noctule-transport", "noctule-packet"),
];

/// Whether a crate knows no runtime, clock, socket, file or thread.
pub(super) fn is_pure(name: &str) -> bool {
    level(name).is_some_and(|level| level <= PURE_LEVEL_MAX)
}

/// Whether a crate is one of the workspace's.
pub(super) fn is_ours(name: &str) -> bool {
    level(name).is_some() || DEV_ONLY.contains(&name)
}

/// The pure crates in the order of their levels.
pub(crate) fn pure_crates() -> impl Iterator<Item = &'static str> {
    LEVELS.iter().map(|(name, _)| *name).filter(|name| is_pure(name))
}

fn level(name: &str) -> Option<u8> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Normal,
    Dev,
}

#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    kind: Kind,
}

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) -> Result<()> {
    let (packages, edges) = workspace(tree)?;
    for package in packages.iter().filter(|package| *package != "xtask") {
        if !is_ours(package) {
            report(package, package, "has no level: draw it in ARCHITECTURE.md and here", found);
        }
        let forbidden = forbidden(package);
        if !forbidden.is_empty() {
            let resolved = resolved_tree(tree, package)?;
            check_tree(package, &forbidden, &resolved, found);
        }
    }
    for edge in &edges {
        if let Some(problem) = problem(edge) {
            report(&edge.from, &edge.to, &problem, found);
        }
    }
    Ok(())
}

fn report(package: &str, item: &str, problem: &str, found: &mut Vec<Violation>) {
    let path = format!("crates/{package}/Cargo.toml");
    found.push(Violation::new("edges", &path, 1, format!("{package} {problem}")).item(item));
}

/// What is wrong with an edge between two crates of the workspace.
fn problem(edge: &Edge) -> Option<String> {
    let Edge { from, to, kind } = edge;
    if level(to) == Some(BINARY_LEVEL) {
        return Some(format!("depends on {to}: nothing depends on the binary"));
    }
    if *kind == Kind::Dev {
        let climbs = is_pure(from) && to == "noctule-broker";
        return climbs.then(|| format!("is pure, so its tests do without {to}"));
    }
    let from_dev_only = DEV_ONLY.contains(&from.as_str());
    if DEV_ONLY.contains(&to.as_str()) {
        let problem = format!("depends on {to}, which serves tests only");
        return (!from_dev_only).then_some(problem);
    }
    let (from_level, to_level) = (level(from)?, level(to)?);
    (to_level >= from_level)
        .then(|| format!("(level {from_level}) depends on {to} (level {to_level}): not downwards"))
}

fn forbidden(package: &str) -> Vec<&'static str> {
    let mut forbidden = Vec::new();
    if is_pure(package) {
        forbidden.extend(FORBIDDEN_IN_PURE);
    }
    let elsewhere = FORBIDDEN_ELSEWHERE.iter().filter(|(name, _)| *name == package);
    forbidden.extend(elsewhere.map(|(_, dependency)| *dependency));
    forbidden
}

fn check_tree(package: &str, forbidden: &[&str], resolved: &str, found: &mut Vec<Violation>) {
    for dependency in forbidden {
        let is_there = resolved
            .lines()
            .any(|line| line.split_whitespace().next().is_some_and(|name| name == *dependency));
        if is_there {
            let problem = format!("has {dependency} in its tree of dependencies");
            report(package, dependency, &problem, found);
        }
    }
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

fn workspace(tree: &Tree) -> Result<(Vec<String>, Vec<Edge>)> {
    let output = cargo(tree, &["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: Metadata =
        serde_json::from_str(&output).context("cannot read what cargo metadata printed")?;
    let names: Vec<String> = metadata.packages.iter().map(|package| package.name.clone()).collect();
    if names.is_empty() {
        bail!("cargo metadata names no package");
    }
    let mut edges = Vec::new();
    for package in metadata.packages {
        for dependency in package.dependencies {
            if names.contains(&dependency.name) {
                let is_dev = dependency.kind.as_deref() == Some("dev");
                let kind = if is_dev { Kind::Dev } else { Kind::Normal };
                edges.push(Edge { from: package.name.clone(), to: dependency.name, kind });
            }
        }
    }
    Ok((names, edges))
}

/// The resolved normal dependencies with the crate's default features, for every target.
fn resolved_tree(tree: &Tree, package: &str) -> Result<String> {
    let edges = ["--edges", "normal", "--target", "all", "--prefix", "none"];
    cargo(tree, &[&["tree", "--package", package], &edges[..]].concat())
}

pub(super) fn cargo(tree: &Tree, arguments: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(tree.root())
        .output()
        .context("cannot start cargo")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {} failed:\n{errors}", arguments.join(" "));
    String::from_utf8(output.stdout).context("cargo printed something that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(from: &str, to: &str, kind: Kind) -> bool {
        problem(&Edge { from: from.to_owned(), to: to.to_owned(), kind }).is_none()
    }

    #[test]
    fn arrows_only_point_down() {
        assert!(allowed("noctule-session", "noctule-packet", Kind::Normal));
        assert!(allowed("noctule", "noctule-broker", Kind::Normal));
        assert!(!allowed("noctule-packet", "noctule-session", Kind::Normal));
        assert!(!allowed("noctule-broker-core", "noctule-store", Kind::Normal));
    }

    #[test]
    fn crates_of_one_level_do_not_know_each_other() {
        assert!(!allowed("noctule-client-core", "noctule-broker-core", Kind::Normal));
        assert!(!allowed("noctule-broker", "noctule-client", Kind::Normal));
    }

    #[test]
    fn nothing_depends_on_the_binary() {
        assert!(!allowed("noctule-testkit", "noctule", Kind::Normal));
        assert!(!allowed("noctule-broker", "noctule", Kind::Dev));
    }

    #[test]
    fn crates_for_tests_are_dependencies_of_tests_only() {
        assert!(allowed("noctule-broker", "noctule-testkit", Kind::Dev));
        assert!(!allowed("noctule-broker", "noctule-testkit", Kind::Normal));
        assert!(allowed("noctule-sim", "noctule-testkit", Kind::Normal));
        assert!(allowed("noctule-testkit", "noctule-broker", Kind::Normal));
    }

    #[test]
    fn tests_of_pure_crates_do_without_the_broker() {
        assert!(!allowed("noctule-broker-core", "noctule-broker", Kind::Dev));
        assert!(allowed("noctule-client", "noctule-broker", Kind::Dev));
    }

    /// P-17: the core of the clients has no runtime in its tree. P-22: they have no OpenSSL.
    #[test]
    fn a_runtime_in_the_tree_of_a_pure_crate_is_found() {
        let check_resolved = |package: &str, resolved: &str| {
            let mut found = Vec::new();
            check_tree(package, &forbidden(package), resolved, &mut found);
            found.into_iter().filter_map(|violation| violation.item).collect::<Vec<_>>()
        };
        let clean = "noctule-packet v0.1.0 (/x)\nbytes v1.0.0\ntokio-free v1.0.0\n";
        assert!(check_resolved("noctule-packet", clean).is_empty());
        let dirty = format!("{clean}tokio v1.0.0 (*)\n");
        assert_eq!(check_resolved("noctule-packet", &dirty), ["tokio"]);
        assert_eq!(check_resolved("noctule-client-core", &dirty), ["tokio"]);
        assert_eq!(check_resolved("noctule-client-blocking", &dirty), ["tokio"]);
        assert_eq!(check_resolved("noctule-client-wasm", &dirty), ["tokio"]);
        let linked = format!("{clean}openssl-sys v0.9.0\n");
        assert_eq!(check_resolved("noctule-client", &linked), ["openssl-sys"]);
        assert_eq!(check_resolved("noctule-client-blocking", &linked), ["openssl-sys"]);
        assert!(check_resolved("noctule-broker", &dirty).is_empty());
        assert_eq!(check_resolved("noctule-transport", clean), ["noctule-packet"]);
    }
}
