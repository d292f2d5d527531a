//! How the brokers are started that can be crashed, and how they are ended.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::ValueEnum;
use noctule_packet::Version;

use crate::process::{self, Running};

/// A broker with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Recipe {
    /// Mosquitto with persistence as Debian ships it: it saves every half hour, and at the end
    Mosquitto,
    /// Mosquitto that saves after every second change
    MosquittoAutosave,
    /// Noctule as it is by default
    Noctule,
    /// Noctule that keeps everything in memory
    NoctuleMemory,
    /// rumqttd, which `cargo install rumqttd` brings; it has no files
    Rumqttd,
}

/// How a load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// All connections end, the broker does not.
    CutOnly,
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Terminate,
}

/// Where a broker listens: not all do so on one port for all versions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    v3: u16,
    v5: u16,
}

impl Ports {
    /// Ports that are free now.
    fn free(is_one: bool) -> Result<Self> {
        let v3 = process::free_port()?;
        Ok(Self { v3, v5: if is_one { v3 } else { process::free_port()? } })
    }

    pub(super) fn of(self, version: Version) -> SocketAddr {
        let port = if version.is_v5() { self.v5 } else { self.v3 };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }
}

/// A broker, its data, and how to start it on them again.
pub(super) struct Server {
    recipe: Recipe,
    shards: u16,
    folder: PathBuf,
    running: Option<Running>,
}

impl Recipe {
    /// Whether it is the broker that the promises are made for.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Noctule | Self::NoctuleMemory)
    }

    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The one place that knows the command lines.
    fn command(self, folder: &Path, ports: Ports, shards: u16) -> Result<Command> {
        let port = ports.v3;
        Ok(match self {
            Self::Mosquitto => mosquitto(folder, port, "")?,
            Self::MosquittoAutosave => {
                mosquitto(folder, port, "autosave_on_changes true\nautosave_interval 1\n")?
            }
            Self::Noctule => {
                let mut command = noctule(port, shards)?;
                command.arg("--data").arg(folder);
                command
            }
            Self::NoctuleMemory => {
                let mut command = noctule(port, shards)?;
                command.args(process::IN_MEMORY);
                command
            }
            Self::Rumqttd => rumqttd(folder, ports)?,
        })
    }
}

fn noctule(port: u16, shards: u16) -> Result<Command> {
    let mut command = Command::new(process::noctule_program()?);
    command.args(process::noctule_arguments(port, shards));
    Ok(command)
}

/// What Debian's configuration says, without its paths. The queue has no limit, so that none is
/// mistaken for a loss, and a process of root stays one, since the folder is root's.
fn mosquitto(folder: &Path, port: u16, more: &str) -> Result<Command> {
    let file = folder.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nlog_type none\n\
         max_queued_messages 0\npersistence true\npersistence_location {}/\n{more}",
        folder.display()
    );
    fs::write(&file, text)?;
    let mut command = Command::new(process::mosquitto_program());
    // It says again and again that it should not be root.
    command.arg("-c").arg(file).stderr(Stdio::null());
    Ok(command)
}

/// What its example says, with ports of ours.
fn rumqttd(folder: &Path, ports: Ports) -> Result<Command> {
    let file = folder.join("rumqttd.toml");
    let mut text = "id = 0\n[router]\nid = 0\nmax_connections = 10010\n\
                    max_outgoing_packet_count = 200\nmax_segment_size = 104857600\n\
                    max_segment_count = 10\n"
        .to_owned();
    for (name, port) in [("v4", ports.v3), ("v5", ports.v5)] {
        text.push_str(&format!(
            "[{name}.1]\nname = \"{name}\"\nlisten = \"127.0.0.1:{port}\"\n\
             next_connection_delay_ms = 1\n[{name}.1.connections]\n\
             connection_timeout_ms = 60000\nmax_payload_size = 20480\n\
             max_inflight_count = 100\ndynamic_filters = true\n"
        ));
    }
    fs::write(&file, text)?;
    let mut command = Command::new("rumqttd");
    command.arg("--quiet").arg("-c").arg(file).stderr(Stdio::null());
    Ok(command)
}

impl Server {
    /// With an empty folder of its own.
    pub(super) fn new(recipe: Recipe, shards: u16, folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { recipe, shards, folder, running: None })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it on what it has left, and says where it listens.
    pub(super) fn start(&mut self) -> Result<Ports> {
        let ports = Ports::free(self.recipe != Recipe::Rumqttd)?;
        let command = self.recipe.command(&self.folder, ports, self.shards)?;
        self.running = Some(Running::broker(command, ports.v5)?);
        Ok(ports)
    }

    pub(super) fn stop(&mut self, ending: Ending) -> Result<()> {
        match (self.running.take(), ending) {
            (Some(running), Ending::Terminate) => running.stop(),
            // This is SIGKILL.
            (running, _) => {
                drop(running);
                Ok(())
            }
        }
    }
}
