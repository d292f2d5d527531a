//! Where `noctule serve` keeps its data when nobody says where.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use noctule_broker::{Handle, StartError};

/// The directory of a broker that the system's administrator runs.
const OF_ROOT: &str = "/var/lib/noctule";

/// What to do about a directory that is of no use.
const WAYS_OUT: &str = "--data DIR names another directory, --durability memory keeps nothing";

/// The directory for this user.
///
/// # Errors
///
/// If this user has no home.
pub(crate) fn by_default() -> Result<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    directory(is_root, |name| env::var_os(name)).with_context(|| {
        format!(
            "there is no place for the data: neither XDG_STATE_HOME nor HOME is set; {WAYS_OUT}"
        )
    })
}

/// A path that is not absolute counts as none: the next start may be from somewhere else.
fn directory(is_root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if is_root {
        return Some(OF_ROOT.into());
    }
    let path = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || path("HOME");
    let states = if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        path("XDG_STATE_HOME").or_else(|| home().map(|home| home.join(".local/state")))
    };
    states.map(|states| states.join("noctule"))
}

/// Says what to do if a broker did not start because of its directory.
pub(crate) fn explain(started: Result<Handle, StartError>) -> Result<Handle> {
    started.map_err(|error| match error {
        // What is below that one is part of its text.
        StartError::Store { ref source, .. } => anyhow!("{error}: {source}; {WAYS_OUT}"),
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    #[cfg(not(target_os = "macos"))]
    fn everybody_has_a_directory_of_their_own() {
        fn check(is_root: bool, state: Option<&str>, home: Option<&str>, expected: Option<&str>) {
            let found = directory(is_root, |name| match name {
                "XDG_STATE_HOME" => state.map(OsString::from),
                "HOME" => home.map(OsString::from),
                _ => None,
            });
            assert_eq!(found.as_deref(), expected.map(Path::new), "{is_root} {state:?} {home:?}");
        }
        let home = Some("/home/ada");
        check(true, Some("/state"), Some("/root"), Some("/var/lib/noctule"));
        check(false, Some("/state"), home, Some("/state/noctule"));
        check(false, None, home, Some("/home/ada/.local/state/noctule"));
        check(false, Some("state"), home, Some("/home/ada/.local/state/noctule"));
        check(false, Some(""), Some(""), None);
        check(false, None, None, None);
    }
}
