//! Passes every stored seed of a fuzz target to its check. Compiled into the tests of the crates
//! that the seeds are about.

use std::fs;
use std::path::{Path, PathBuf};

/// Checks the seeds of a target, in the order of their names, and says how many there were. The
/// name of the one that fails is the last one in the test's output.
pub(crate) fn replay(target: &str, check: impl Fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in &paths {
        println!("{}", path.display());
        check(&fs::read(path).unwrap());
    }
    paths.len()
}
