//! The processes under measurement: how each is started, on which processors, and what the kernel
//! knows about it.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::engine::Target;
use crate::load::Load;

const START_DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// What a load is sent through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Mosquitto,
    Noctule {
        shards: u16,
    },
    /// As many brokers of one shard, each with a share of the connections: what the processors
    /// take if nothing has to cross from one to the other.
    Brokers {
        count: u16,
    },
    Relay,
}

/// Started processes, which end with this value.
#[derive(Debug)]
pub(crate) struct Running {
    children: Vec<Child>,
    target: Target,
    /// What it was started with, to be removed.
    file: Option<PathBuf>,
}

impl Subject {
    /// Starts it for a load, and waits until it can be connected to.
    pub(crate) fn start(self, load: &Load) -> Result<Running> {
        match self {
            Self::Mosquitto => Running::mosquitto(),
            Self::Noctule { shards } => Running::noctule(shards),
            Self::Brokers { count } => Running::noctules(count),
            Self::Relay => Running::relay(load),
        }
    }

    /// Whether it may use every processor.
    pub(crate) fn is_spread(self) -> bool {
        matches!(self, Self::Noctule { shards: 2.. } | Self::Brokers { .. })
    }
}

impl Running {
    pub(crate) fn noctule(shards: u16) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(noctule_program()?);
        command.args(noctule_arguments(port, shards)).args(IN_MEMORY);
        Self::broker(command, port)
    }

    /// One shard that keeps what it must in a folder.
    pub(crate) fn noctule_with(data: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(noctule_program()?);
        command.args(noctule_arguments(port, 1)).arg("--data").arg(data);
        Self::broker(command, port)
    }

    fn noctules(count: u16) -> Result<Self> {
        let mut all = Self::noctule(1)?;
        for _ in 1..count {
            let mut one = Self::noctule(1)?;
            all.children.append(&mut one.children);
            if let (Target::Brokers(all), Target::Brokers(one)) = (&mut all.target, &mut one.target)
            {
                all.append(one);
            }
        }
        Ok(all)
    }

    fn mosquitto() -> Result<Self> {
        let port = free_port()?;
        let file = env::temp_dir().join(format!("noctule-bench-{port}.conf"));
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\nset_tcp_nodelay true\n\
             max_queued_messages 0\nmax_inflight_messages 0\n"
        );
        fs::write(&file, text)?;
        let mut command = Command::new(mosquitto_program());
        command.arg("-c").arg(&file);
        let mut running = Self::broker(command, port)?;
        running.file = Some(file);
        Ok(running)
    }

    /// A broker that listens on a port of this host, once it does.
    pub(crate) fn broker(mut command: Command, port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        let target = Target::Brokers(vec![address]);
        let mut running = Self { children: vec![child], target, file: None };
        let deadline = Instant::now() + START_DEADLINE;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = running.children[0].try_wait()? {
                bail!("{command:?} ended with {status}");
            }
            ensure!(Instant::now() < deadline, "{command:?} does not listen on {address}");
            pause();
        }
        Ok(running)
    }

    fn relay(load: &Load) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["relay", &load.sources().to_string(), &load.sinks().to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the relay has no output")?;
        let mut reader = BufReader::new(stdout);
        reader.read_line(&mut line)?;
        child.stdout = Some(reader.into_inner());
        let ports: Vec<u16> = line.split_whitespace().flat_map(str::parse).collect();
        let [source, sink] = ports[..] else { bail!("the relay says {line:?}") };
        let on_port = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let target = Target::Relay { sources: on_port(source), sinks: on_port(sink) };
        Ok(Self { children: vec![child], target, file: None })
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn processor_time(&self) -> Result<Duration> {
        self.children.iter().map(|child| processor_time(child.id())).sum()
    }

    /// For how long its threads could have run while the processor did something else.
    pub(crate) fn waiting_time(&self) -> Result<Duration> {
        self.children.iter().map(|child| scheduled(child.id(), 1)).sum()
    }

    /// Bytes of memory of its own, without what the kernel holds for it.
    pub(crate) fn anonymous_bytes(&self) -> Result<u64> {
        self.children.iter().map(|child| anonymous_bytes(child.id())).sum()
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        for child in &mut self.children {
            kill_process(Pid::from_child(child), Signal::TERM)?;
            let status = child.wait()?;
            ensure!(status.success(), "a process under measurement ended with {status}");
        }
        Ok(())
    }

    /// Waits until it has ended by itself, and returns what it printed.
    pub(crate) fn output(mut self) -> Result<String> {
        let mut text = String::new();
        for child in &mut self.children {
            child.stdout.take().context("nothing is printed")?.read_to_string(&mut text)?;
            child.wait()?;
        }
        Ok(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file);
        }
    }
}

/// Has noctule keep nothing on disk.
pub(crate) const IN_MEMORY: [&str; 2] = ["--durability", "memory"];

/// How noctule is started, wherever it runs, but for where it keeps its data.
pub(crate) fn noctule_arguments(port: u16, shards: u16) -> Vec<String> {
    let listen = format!("127.0.0.1:{port}");
    let shards = shards.to_string();
    let arguments = ["serve", "--listen", &listen, "--shards", &shards, "--log-level", "error"];
    arguments.map(str::to_owned).to_vec()
}

/// Builds the broker beside this program, unless `NOCTULE_BIN` names another binary.
pub(crate) fn build_noctule() -> Result<()> {
    if env::var_os("NOCTULE_BIN").is_some() {
        return Ok(());
    }
    let program = noctule_program()?;
    let target = program.ancestors().nth(2).context("this program is in no target folder")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--package", "noctule", "--target-dir"]);
    let status = command.arg(target).status().context("cannot start cargo")?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// The binary that is measured.
pub(crate) fn noctule_program() -> Result<PathBuf> {
    if let Some(path) = env::var_os("NOCTULE_BIN") {
        return Ok(path.into());
    }
    let folder = env::current_exe()?.parent().context("this program is nowhere")?.to_owned();
    Ok(folder.join("noctule"))
}

/// Debian keeps it where not everybody looks for programs.
pub(crate) fn mosquitto_program() -> &'static Path {
    let known = Path::new("/usr/sbin/mosquitto");
    if known.exists() { known } else { Path::new("mosquitto") }
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits for another process.
pub(crate) fn pause() {
    thread::park_timeout(PAUSE);
}

fn anonymous_bytes(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kilobytes: u64 =
        kilobytes.with_context(|| format!("no RssAnon in {path}"))?.trim().parse()?;
    Ok(kilobytes * 1_024)
}

/// User and system time of all threads that live.
pub(crate) fn processor_time(process: u32) -> Result<Duration> {
    scheduled(process, 0)
}

/// A column of the scheduler's statistics, summed over all threads that live.
fn scheduled(process: u32, column: usize) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = thread?.path().join("schedstat");
        let text = match fs::read_to_string(&path) {
            Err(error) if has_ended(&error) => continue,
            text => text.with_context(|| path.display().to_string())?,
        };
        let time = text.split(' ').nth(column).unwrap_or_default();
        nanoseconds += time.parse::<u64>().with_context(|| format!("{} {text}", path.display()))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Whether a thread has ended between being listed and being looked at.
fn has_ended(error: &io::Error) -> bool {
    let no_such_process = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(no_such_process)
}

/// How many processors there were when this was first asked: [`run_on`] must not be earlier.
pub(crate) fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// Has this program, and what it starts from now on, run on these processors only.
pub(crate) fn run_on(processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor);
    }
    sched_setaffinity(None, &set).context("cannot choose a processor")
}
