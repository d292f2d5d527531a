//! A state whose process is killed at random: what it has reported is there, and no half batch.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use noctule_store::{LoggedState, RealDisk, Repair, State, StateBatch};

use crate::state::{CONTENT, Chance, all};

const ROUNDS: u64 = 30;
/// Keys that every batch changes.
const PARTS: u32 = 100;
/// Every batch adds a key, and takes the one away that is so many older.
const WINDOW: u64 = 50;
const FOLDER: &str = "NOCTULE_STATE_KILLED_FOLDER";

fn open(folder: &Path) -> Box<dyn State> {
    let disk = Box::new(RealDisk::open(folder).expect("a directory"));
    Box::new(LoggedState::open(disk, CONTENT, Repair::Refuse).expect("it opens").0)
}

fn batch(number: u64) -> StateBatch {
    let mut batch = StateBatch::new();
    let mut put = |key: String, length: usize| {
        let mut value = number.to_le_bytes().to_vec();
        value.resize(8 + length, 0x5A);
        batch.put(key, value).expect("it is short");
    };
    for part in 0..PARTS {
        // Some fill more than a page.
        put(format!("part/{part:03}"), if part % 100 == 0 { 9_000 } else { 200 });
    }
    put(format!("window/{number:016x}"), 10);
    if number > WINDOW {
        batch.remove(format!("window/{:016x}", number - WINDOW)).expect("it is short");
    }
    batch
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(*value.first_chunk().expect("a number"))
}

/// The last batch that is there, if all of it and of those before it is.
fn last(state: &dyn State) -> u64 {
    let parts: Vec<u64> = all(state, b"part/").iter().map(|(_, value)| number(value)).collect();
    let last = parts.first().copied().unwrap_or(0);
    assert!(parts.iter().all(|part| *part == last), "half a batch: {parts:?}");
    assert!(last == 0 || parts.len() == PARTS as usize, "half a batch: {} parts", parts.len());
    let window: Vec<u64> = all(state, b"window/").iter().map(|(_, value)| number(value)).collect();
    let expected: Vec<u64> = (last.saturating_sub(WINDOW) + 1..=last).collect();
    assert_eq!(window, expected, "batch {last}");
    last
}

/// Not a test by itself: what the process does that is killed.
#[test]
fn until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut state = open(&PathBuf::from(folder));
    let first = last(&*state) + 1;
    for number in first.. {
        state.apply(&batch(number)).expect("there is room");
        let mut out = std::io::stdout().lock();
        if writeln!(out, "\napplied {number}").and_then(|()| out.flush()).is_err() {
            // Whoever listens is gone.
            return;
        }
    }
}

/// Starts one, kills it, and says what it has reported last.
fn kill_one(folder: &Path, chance: &mut Chance) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["--exact", "state_killed::until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let reports = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut last = 0;
        for line in reports.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("applied ") {
                last = number.parse().expect("a number");
                // Nobody may listen any more.
                let _ = tell.send(());
            }
        }
        last
    });
    // Some die while they open, mostly, and the others behind so many batches.
    let is_early = chance.below(3) == 0;
    if !is_early {
        let enough = usize::try_from(1 + chance.below(25)).expect("small");
        assert_eq!(told.iter().take(enough).count(), enough, "it has ended by itself");
    }
    #[expect(clippy::disallowed_methods, reason = "the moment of death is chance")]
    thread::sleep(Duration::from_micros(chance.below(if is_early { 60_000 } else { 5_000 })));
    child.kill().expect("it can be killed");
    let status = child.wait().expect("it has ended");
    assert!(status.code().is_none(), "it has ended by itself: {status}");
    reader.join().expect("it reads")
}

#[test]
fn a_killed_log_has_what_it_has_reported() {
    let name = format!("noctule-store-killed-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let mut chance = Chance(0xBAD_5EED);
    let mut found = 0;
    for round in 0..ROUNDS {
        let reported = kill_one(&folder, &mut chance);
        let before = found;
        found = last(&*open(&folder));
        assert!(
            found >= reported.max(before),
            "round {round}: {reported} is lost, {found} is there"
        );
    }
    assert!(found > 100, "only {found} batches");
    let _ = std::fs::remove_dir_all(folder);
}
