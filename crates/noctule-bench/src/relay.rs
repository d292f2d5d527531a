//! The bare relay: what moving the bytes costs if nobody looks at them. One thread, one epoll, one
//! read of up to 64 KiB from each ready source and one write to each destination per wake-up.

use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

const READ_BYTES_MAX: usize = 64 * 1024;
const EVENTS_MAX: usize = 1_024;

/// Sources and the destinations of everything that they send.
#[derive(Debug, Default)]
struct Group {
    sinks: Vec<TcpStream>,
    /// What was read in this wake-up.
    buffer: Vec<u8>,
    is_touched: bool,
}

/// Prints its two ports, relays until the last source is gone, and prints how many system calls
/// that took.
pub(crate) fn run(sources: usize, sinks: usize) -> Result<()> {
    let source_door = TcpListener::bind("127.0.0.1:0")?;
    let sink_door = TcpListener::bind("127.0.0.1:0")?;
    println!("{} {}", source_door.local_addr()?.port(), sink_door.local_addr()?.port());
    io::stdout().flush()?;

    let sources = accept(&source_door, sources)?;
    let sinks = accept(&sink_door, sinks)?;
    let groups = group(sources.len(), sinks);
    println!("{}", relay(&sources, groups)?);
    Ok(())
}

fn accept(door: &TcpListener, count: usize) -> Result<Vec<TcpStream>> {
    (0..count)
        .map(|_| {
            let (stream, _) = door.accept()?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
        .collect()
}

/// As many groups as there are sources if each has a sink of its own, otherwise one.
fn group(sources: usize, sinks: Vec<TcpStream>) -> Vec<Group> {
    let groups = if sources == sinks.len() { sources } else { 1 };
    let mut all: Vec<Group> = (0..groups).map(|_| Group::default()).collect();
    for (index, sink) in sinks.into_iter().enumerate() {
        all[index % groups].sinks.push(sink);
    }
    all
}

/// How many system calls it made.
fn relay(sources: &[TcpStream], mut groups: Vec<Group>) -> Result<u64> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, source) in sources.iter().enumerate() {
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&epoll, source, data, epoll::EventFlags::IN)?;
    }
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut touched = Vec::new();
    let mut calls = 0;
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        calls += 1;
        for event in &events {
            let index = event.data.u64() as usize;
            let at = index % groups.len();
            let group = &mut groups[at];
            group.buffer.reserve(READ_BYTES_MAX);
            calls += 1;
            match rustix::io::read(&sources[index], spare_capacity(&mut group.buffer)) {
                // The load is over when the first source is gone.
                Ok(0) => return Ok(calls),
                Ok(_) => {}
                Err(error) => return Err(error).context("cannot read"),
            }
            if !std::mem::replace(&mut group.is_touched, true) {
                touched.push(at);
            }
        }
        for at in touched.drain(..) {
            let Group { sinks, buffer, is_touched } = &mut groups[at];
            for sink in sinks {
                calls += 1;
                match sink.write_all(buffer) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(calls),
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(calls),
                    Err(error) => return Err(error).context("cannot write"),
                }
            }
            buffer.clear();
            *is_touched = false;
        }
    }
}
