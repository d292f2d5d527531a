//! What is done about a directory whose content is damaged.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use noctule_store::broker::{self, Findings, Opened};
use noctule_store::{RealDisk, StoreError, UnchangedDisk};
use tracing::{info, warn};

use crate::error::StartError;

/// What is done about a directory whose content is damaged. The end of a write that a crash has
/// interrupted is no damage: nothing of it was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recovery {
    /// All of it is moved to a folder in the directory, which is named by the time, and the broker
    /// begins with nothing.
    Empty,
    /// The broker does not start, and changes nothing.
    Refuse,
    /// What cannot be read is set aside, and the broker starts with everything else.
    #[default]
    Repair,
}

/// Opens the store in a directory, of a broker that sends a client so many messages at a time, and
/// syncs after each write or after this interval.
pub(crate) fn open(
    path: &Path,
    recovery: Recovery,
    in_flight_max: u16,
    interval: Option<Duration>,
) -> Result<Opened, StartError> {
    let failed = |source| StartError::Store { path: path.to_owned(), source };
    if let Some(folder) = finish_setting_aside(path).map_err(failed)? {
        info!(target: "noctule", folder = %folder.display(), "the damaged data is aside now");
    }
    if recovery != Recovery::Repair {
        let findings = look(path).map_err(failed)?;
        match recovery {
            _ if findings.is_intact() => {}
            Recovery::Empty => {
                let folder = set_aside(path).map_err(failed)?;
                warn!(target: "noctule", folder = %folder.display(), %findings,
                    "the store was damaged, and is begun again: what there was is aside");
            }
            Recovery::Refuse | Recovery::Repair => {
                let (path, findings) = (path.to_owned(), findings.to_string());
                return Err(StartError::Damaged { path, findings });
            }
        }
    }
    broker::open_directory(path, in_flight_max, interval).map_err(failed)
}

/// What is damaged; nobody has the directory open behind this.
fn look(path: &Path) -> Result<Findings, StoreError> {
    Ok(broker::look(UnchangedDisk::open(path)?)?.findings)
}

fn finish_setting_aside(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    RealDisk::open(path)?.finish_setting_aside()
}

fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    RealDisk::open(path)?.set_aside(time.as_secs())
}
