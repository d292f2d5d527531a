//! Opening a broker's store: what the state has, then the log behind it, then of the runs what has
//! to be in memory.

use std::fmt;

use noctule_broker_core::{Record, Source};

use super::checkpoint::Archive;
use super::keys::{FIRST_SEGMENT, GOT, RUNS, UNROUTED};
use super::live::Live;
use super::model::Model;
use super::queues::Queues;
use super::reader::Reader;
use super::{CONTENT, backlog, decode};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::{Log, LogSettings};
use crate::recovery::Repair;
use crate::run::{self, RunSettings, Runs};
use crate::state::State;
use crate::summary::Summary;

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What its log is, besides being one of [`CONTENT`].
    pub log: LogSettings,
    /// When its runs are written anew.
    pub runs: RunSettings,
    /// How many messages a client may have been sent at a time, whatever its Receive Maximum is.
    pub in_flight_max: u16,
}

impl From<LogSettings> for Settings {
    fn from(log: LogSettings) -> Self {
        Self { log, runs: RunSettings::default(), in_flight_max: u16::MAX }
    }
}

/// A store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The log, to be appended to.
    pub log: Log,
    /// Everything else.
    pub archive: Archive,
    /// What stands.
    pub model: Model,
    /// What was found.
    pub findings: Findings,
}

/// What was found when a store was opened.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Findings {
    /// In the state.
    pub state: Summary,
    /// In the log.
    pub log: Summary,
    /// Messages that wait in runs, about.
    pub spilled: u64,
    /// Parts of the state and of runs that cannot be read, with the reason; what was in them is
    /// gone.
    pub unreadable: Vec<String>,
}

impl Findings {
    /// Whether nothing that was ever promised is missing.
    pub fn is_intact(&self) -> bool {
        self.state.is_intact() && self.log.is_intact() && self.unreadable.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {} messages in runs", self.log, self.spilled)?;
        if !self.state.is_clean() {
            write!(formatter, "; the state: {}", self.state)?;
        }
        for unreadable in &self.unreadable {
            write!(formatter, "; {unreadable}")?;
        }
        Ok(())
    }
}

/// Opens a store whose log is in one directory, whose runs are in another, and whose state is
/// opened already.
///
/// # Errors
///
/// If a part of it is of a newer format or of another kind, if it is damaged and `repair` does not
/// allow that, or if the system cannot read it.
pub fn open(
    disk: Box<dyn Disk>,
    runs: Box<dyn Disk>,
    state: Box<dyn State>,
    settings: impl Into<Settings>,
    repair: Repair,
) -> Result<Opened, StoreError> {
    open_behind(Summary::default(), disk, runs, state, settings.into(), repair)
}

/// The same, when this was found in the state.
pub(super) fn open_behind(
    found: Summary,
    disk: Box<dyn Disk>,
    runs: Box<dyn Disk>,
    state: Box<dyn State>,
    settings: Settings,
    repair: Repair,
) -> Result<Opened, StoreError> {
    let log_settings = LogSettings { content: CONTENT, ..settings.log };
    let syncs_at_once = disk.syncs_at_once();
    let mut findings = Findings { state: found, ..Findings::default() };
    let mut model = Model::from_state(&*state, |unreadable| {
        findings.unreadable.push(format!("a part of the state: {}", unreadable.reason));
    })?;
    let mut runs = open_runs(runs, settings.runs, &*state, repair, &mut findings)?;
    read_unrouted(&*state, &mut model, &mut findings)?;
    let first = state.get(FIRST_SEGMENT)?;
    let first = first.and_then(|value| Reader::new(&value).long("segment").ok()).unwrap_or(0);
    let (mut log, summary) = Log::open_from(first, disk, log_settings, repair, |recovered| {
        model.apply(decode(recovered.bytes).map_err(|error| error.to_string())?);
        Ok(())
    })?;
    findings.log = summary;
    let queues = Queues::new(runs.view());
    backlog::restore(&mut runs, &queues, &mut model, settings.in_flight_max, &mut findings)?;
    let live = Live::new(syncs_at_once);
    log.witness = Some(Box::new(live.clone()));
    let segments = (first, log.view().active());
    Ok(Opened { log, archive: Archive::new(state, runs, queues, live, segments), model, findings })
}

/// Opens the runs. When something that names runs may be lost, those are set aside that nothing
/// names: otherwise they are of no use to anybody, and go.
fn open_runs(
    mut disk: Box<dyn Disk>,
    settings: RunSettings,
    state: &dyn State,
    repair: Repair,
    findings: &mut Findings,
) -> Result<Runs, StoreError> {
    let mut manifest = state.get(RUNS)?.unwrap_or_default();
    if let Err(error) = run::look_at_manifest(&manifest) {
        if repair != Repair::Salvage || matches!(error, StoreError::NewerFormat { .. }) {
            return Err(error);
        }
        findings.unreadable.push("a part of the state: the list of runs is damaged".into());
        manifest.clear();
    }
    if !findings.is_intact() {
        let others = run::set_others_aside(&mut *disk, &manifest)?;
        let told = others.iter().map(|run| {
            format!(
                "run {run} is set aside: what is damaged may have named it, and nothing else does"
            )
        });
        findings.unreadable.extend(told);
    }
    let (runs, damaged) = Runs::open(disk, settings, &manifest)?;
    findings.unreadable.extend(damaged.iter().map(ToString::to_string));
    Ok(runs)
}

/// Reads the QoS 2 publications that were received and perhaps not routed to all.
fn read_unrouted(
    state: &dyn State,
    model: &mut Model,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    state.scan(UNROUTED, &mut |_, value| match decode(value) {
        Ok(Record::Received { session, packet_id, publication, message }) => {
            model.unrouted(publication, session, Source::Packet(packet_id), message);
        }
        Ok(Record::WillDue { session, publication, owner, message }) => {
            model.unrouted(publication, session, Source::Will(owner), message);
        }
        Ok(_) => findings.unreadable.push("a publication in the state: it is none".into()),
        Err(error) => findings.unreadable.push(format!("a publication in the state: {error}")),
    })?;
    state.scan(GOT, &mut |key, value| {
        let Some(publication) = key.get(GOT.len()..).and_then(|name| name.try_into().ok()) else {
            return;
        };
        let publication = u64::from_be_bytes(publication);
        let sessions = value.chunks_exact(8).filter_map(|name| name.try_into().ok());
        model.queued.entry(publication).or_default().extend(sessions.map(u64::from_le_bytes));
    })
}
