//! Runs that nothing names because what named them is damaged: they are set aside and told.

use noctule_store::broker::{CONTENT, Opened, Settings, open_parts};
use noctule_store::{
    Cut, Disk, LogSettings, LoggedState, Repair, SimulatedDisk, State, StateBatch, StoreError,
};

use crate::broker_checkpoint::{commit, fill_two_runs, sized};

const SESSION: u64 = 1 << 16;

/// The disks of a store: of its log, its runs and its state.
struct Disks([SimulatedDisk; 3]);

impl Disks {
    fn open(&self) -> Result<Opened, StoreError> {
        let log = LogSettings { segment_bytes: 2_048, free_segments_max: 2, ..Default::default() };
        let [log_disk, runs, state] = self.0.each_ref().map(|disk| Box::new(disk.clone()));
        open_parts(log_disk, runs, state, Settings::from(log))
    }

    /// With two runs.
    fn with_runs() -> Self {
        let disks = Self(std::array::from_fn(|_| SimulatedDisk::new()));
        fill_two_runs(disks.open().expect("it is empty"), SESSION, 10, 1_500);
        disks
    }

    fn runs(&self) -> &SimulatedDisk {
        &self.0[1]
    }

    fn run_files(&self, ends: &str) -> Vec<String> {
        let mut names = self.runs().names().expect("there is power");
        names.retain(|name| name.ends_with(ends));
        names
    }

    fn state(&self) -> LoggedState {
        let state = Box::new(self.0[2].clone());
        LoggedState::open(state, CONTENT, Repair::Salvage).expect("it is readable").0
    }
}

#[test]
fn without_the_list_of_runs_all_of_them_are_set_aside_and_told() {
    let disks = Disks::with_runs();
    let runs = disks.run_files(".run");
    assert!(!runs.is_empty());
    let mut damaged = StateBatch::new();
    damaged.put(b"m", b"no list of runs").expect("it is small");
    disks.state().apply(&damaged).expect("there is room");
    let opened = disks.open().expect("it is repaired");
    assert!(!opened.findings.is_intact());
    let told = opened.findings.to_string();
    assert!(told.contains("the list of runs is damaged"), "{told}");
    assert_eq!(told.matches("is set aside").count(), runs.len(), "{told}");
    assert_eq!(disks.run_files(".run"), [] as [String; 0]);
    assert_eq!(disks.run_files("-all.bin").len(), runs.len());
    // It goes on, and is whole again.
    drop(opened);
    let Opened { mut log, mut archive, .. } = disks.open().expect("it is repaired");
    commit(&mut log, &[sized(SESSION, 21, 10)]).expect("there is power");
    log.seal().expect("there is room");
    let view = log.view();
    archive.take_in(&view, view.sealed()[0]).expect("there is room");
    drop((log, archive));
    let again = disks.open().expect("it is whole");
    assert!(again.findings.is_intact(), "{}", again.findings);
    assert_eq!(disks.run_files("-all.bin").len(), runs.len());
}

#[test]
fn what_a_damaged_state_may_have_named_is_set_aside_and_what_a_whole_one_does_not_name_goes() {
    for is_damaged in [true, false] {
        let disks = Disks::with_runs();
        let named = disks.run_files(".run");
        let mut runs = disks.runs().after(Cut::Nothing);
        let mut content = Vec::new();
        runs.damage(&named[0], |bytes| content.clone_from(bytes));
        let mut other = runs.create("run-00000000000000ff.run").expect("there is room");
        other.write_at(&content, 0).expect("there is room");
        let Disks([log, _, state]) = disks;
        let disks = Disks([log, runs, state]);
        if is_damaged {
            let file = disks.0[2].names().expect("there is power").swap_remove(0);
            // In its first batch, behind which there are others.
            disks.0[2].damage(&file, |bytes| bytes[100] ^= 1);
        }
        let opened = disks.open().expect("it is repaired");
        assert_eq!(opened.findings.is_intact(), !is_damaged, "{}", opened.findings);
        let told = opened.findings.to_string();
        assert_eq!(told.contains("run 255 is set aside"), is_damaged, "{told}");
        assert_eq!(disks.run_files(".run"), named);
        assert_eq!(disks.run_files("-all.bin").len(), usize::from(is_damaged));
    }
}
