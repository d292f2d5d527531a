//! Faults of a store that a simulation plants, to see that its oracle notices them.

use std::io;

use noctule_broker_core::{Record, Restored};
use noctule_packet::PacketId;
use noctule_store::{Disk, DiskFile, SimulatedDisk};

/// One thing that a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// What was handed over counts as durable at once.
    AcknowledgeUnsynced,
    /// The connection's end is not recorded.
    ForgetLeaving,
    /// A client's PUBREC is not recorded.
    ForgetPubrec,
    /// That a publisher has released its QoS 2 publication is not recorded.
    ForgetRelease,
    /// What a topic has retained is not recorded.
    ForgetRetained,
    /// That a publication is routed to all is not recorded.
    ForgetRouted,
    /// Syncs do nothing.
    IgnoreSyncs,
    /// Runs are named before they are on disk.
    LeaveRunsUnsynced,
    /// The state is not on disk when the log is emptied.
    LeaveStateUnsynced,
    /// It is not given back of which shared subscription a message is.
    LoseGroups,
    /// Subscriptions are not given back.
    LoseSubscriptions,
    /// The first packet identifier behind a restart is 1.
    RestartPacketIds,
    /// The log is emptied, and what was alive in it goes nowhere.
    TrimUnasked,
}

impl StoreFault {
    /// Every fault.
    pub const ALL: [Self; 13] = [
        Self::AcknowledgeUnsynced,
        Self::ForgetLeaving,
        Self::ForgetPubrec,
        Self::ForgetRelease,
        Self::ForgetRetained,
        Self::ForgetRouted,
        Self::IgnoreSyncs,
        Self::LeaveRunsUnsynced,
        Self::LeaveStateUnsynced,
        Self::LoseGroups,
        Self::LoseSubscriptions,
        Self::RestartPacketIds,
        Self::TrimUnasked,
    ];

    /// Whether a record is not written.
    pub(crate) fn forgets(self, record: &Record) -> bool {
        match self {
            Self::ForgetLeaving => matches!(record, Record::SessionLeft { .. }),
            Self::ForgetPubrec => matches!(record, Record::Pubrec { .. }),
            Self::ForgetRelease => matches!(record, Record::Released { .. }),
            Self::ForgetRetained => matches!(record, Record::Retained { .. }),
            Self::ForgetRouted => matches!(record, Record::Routed { .. }),
            _ => false,
        }
    }

    /// Changes what is given back at a start.
    pub(crate) fn spoil(self, restored: &mut Restored) {
        let Restored::Session(session) = restored else { return };
        match self {
            Self::LoseGroups => session.messages.iter_mut().for_each(|it| it.group = None),
            Self::LoseSubscriptions => session.subscriptions.clear(),
            Self::RestartPacketIds => session.next = PacketId::MIN,
            _ => {}
        }
    }
}

/// A disk that says that it has synced.
#[derive(Debug)]
pub(crate) struct Unsynced<T>(T);

impl Unsynced<SimulatedDisk> {
    pub(crate) const fn new(disk: SimulatedDisk) -> Self {
        Self(disk)
    }
}

impl Disk for Unsynced<SimulatedDisk> {
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Unsynced(self.0.create(name)?)))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Unsynced(self.0.open(name)?)))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Unsynced<Box<dyn DiskFile>> {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn write_durably(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        self.0.allocate(length)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
