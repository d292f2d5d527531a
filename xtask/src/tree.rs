//! The files of the project: what git tracks or would track.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

/// Folders that are never part of the project, for a tree without git (an unpacked archive).
const FOREIGN_FOLDERS: [&str; 4] = [".git", "target", "node_modules", "__pycache__"];

/// The project's root folder and the paths of its files, relative to the root.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    paths: Vec<String>,
}

impl Tree {
    /// Finds the tree to which this program belongs.
    pub(crate) fn discover() -> Result<Self> {
        // Cargo sets the variable at run time too; the value from compile time would be wrong
        // when two checkouts share one target folder.
        let manifest = env::var("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&manifest).parent().context("xtask has no parent folder")?.to_owned();
        let mut paths = match tracked(&root) {
            Some(paths) => paths,
            None => {
                let mut paths = Vec::new();
                walk(&root, &root, &mut paths)?;
                paths
            }
        };
        // A file that was deleted but not yet committed is still listed by git.
        paths.retain(|path| root.join(path).is_file());
        paths.sort();
        paths.dedup();
        Ok(Self { root, paths })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.paths.iter().any(|known| known == path)
    }

    pub(crate) fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.root.join(path)).with_context(|| format!("cannot read {path}"))
    }

    /// The text of a file, or `None` if it is not UTF-8 and so not ours to judge.
    pub(crate) fn read_text(&self, path: &str) -> Result<Option<String>> {
        let bytes =
            fs::read(self.root.join(path)).with_context(|| format!("cannot read {path}"))?;
        Ok(String::from_utf8(bytes).ok())
    }
}

fn tracked(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let listing = String::from_utf8(output.stdout).ok()?;
    Some(listing.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn walk(root: &Path, folder: &Path, paths: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {folder:?}"))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = entry.path();
        if path.is_dir() {
            if !FOREIGN_FOLDERS.iter().any(|foreign| name == *foreign) {
                walk(root, &path, paths)?;
            }
        } else if let Some(relative) = path.strip_prefix(root)?.to_str() {
            paths.push(relative.replace('\\', "/"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_holds_this_file_and_no_build_output() {
        let tree = Tree::discover().unwrap();
        assert!(tree.contains("xtask/src/tree.rs"));
        assert!(tree.paths().iter().all(|path| !path.starts_with("target/")));
    }

    #[test]
    fn the_walk_without_git_finds_the_same_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        walk(root, root, &mut paths).unwrap();
        assert!(paths.iter().any(|path| path == "src/tree.rs"));
    }
}
