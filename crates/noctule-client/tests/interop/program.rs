//! Finding, starting and ending the programs of others.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use std::{env, process, thread};

/// Where programs for administrators are, which not every user's `PATH` has.
const MORE_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
/// How often a port is tried that nobody listens on yet.
const PAUSE: Duration = Duration::from_millis(10);

/// Where a program is. Without it the test is to be skipped, which is a failure where CI is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        let advice = format!("{name} is not installed; `./test` installs it");
        assert!(env::var_os("CI").is_none(), "{advice}");
        eprintln!("skipped: {advice}");
    }
    found
}

/// A folder of a test, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let path = env::temp_dir().join(format!("noctule-interop-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address on the loopback that nobody listens on at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A program that runs until it is dropped, with its children.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a program and waits until it listens on all `addresses`.
    pub(crate) fn start(command: &mut Command, addresses: &[SocketAddr], limit: Duration) -> Self {
        let output = into_file(command);
        in_group(command);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut running = Self(child);
        let deadline = Instant::now() + limit;
        for address in addresses {
            while TcpStream::connect(address).is_err() {
                let ended = running.0.try_wait().unwrap();
                if ended.is_some() || Instant::now() > deadline {
                    let said = fs::read_to_string(&output).unwrap_or_default();
                    panic!("{command:?} does not listen on {address} ({ended:?}): {said}");
                }
                pause();
            }
        }
        running
    }
}

#[expect(clippy::disallowed_methods, reason = "a foreign program does not tell when it listens")]
fn pause() {
    thread::sleep(PAUSE);
}

/// Lets a program write what it says into a file of its own folder.
fn into_file(command: &mut Command) -> PathBuf {
    let folder = command.get_current_dir().expect("a program has a folder of its own");
    let name = Path::new(command.get_program()).file_name().expect("a program is a file");
    let path = folder.join(name).with_extension("log");
    let file = fs::File::create(&path).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
    path
}

#[cfg(unix)]
fn in_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn in_group(_command: &mut Command) {}

impl Drop for Running {
    fn drop(&mut self) {
        // Some are scripts that start what is to end, too.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
