//! Runs of which nobody knows any more whether they are needed, because what names them was
//! damaged: they get other names, so that nothing removes them.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::run::format;
use crate::run::manifest::Manifest;

/// Whether this names runs.
pub(crate) fn look_at_manifest(manifest: &[u8]) -> Result<(), StoreError> {
    Manifest::decode(manifest).map(drop)
}

/// Sets aside all runs that the manifest does not name. Which ones.
pub(crate) fn set_others_aside(
    disk: &mut dyn Disk,
    manifest: &[u8],
) -> Result<Vec<u64>, StoreError> {
    let Manifest { runs, .. } = Manifest::decode(manifest)?;
    let mut names = disk.names().map_err(StoreError::io("list", "the directory"))?;
    let mut others: Vec<u64> = names.iter().filter_map(|name| format::number(name)).collect();
    others.retain(|number| !runs.iter().any(|(run, _)| run == number));
    others.sort_unstable();
    for number in &others {
        let (name, aside) = (format::name(*number), free_name(&names, *number));
        disk.rename(&name, &aside).map_err(StoreError::io("rename", name))?;
        names.push(aside);
    }
    if !others.is_empty() {
        disk.sync_names().map_err(StoreError::io("sync", "the directory"))?;
    }
    Ok(others)
}

/// Numbers are given again when nobody knows that they were.
fn free_name(names: &[String], number: u64) -> String {
    let numbered = (2..).map(|again: u64| format!("damaged-run-{number:016x}-all-{again}.bin"));
    let mut all = std::iter::once(format!("damaged-run-{number:016x}-all.bin")).chain(numbered);
    all.find(|name| !names.contains(name)).unwrap_or_default()
}
