//! A declared size costs nothing before the bytes are there.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use noctule_broker::{Broker, Limits};
use noctule_testkit::Peer;

use crate::{DEADLINE, start};

/// Remembers the largest request that any test of this program made.
struct Watching;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

#[test]
fn a_declared_size_allocates_nothing_ahead_of_the_bytes() {
    let mut limits = Limits::default();
    limits.maximum_packet_size = 268_435_455;
    limits.connect_bytes_max = 268_435_455;
    let (broker, address) = start(Broker::builder().limits(limits));
    // A PUBLISH and a CONNECT of 256 MB, of which hardly anything comes.
    let mut publisher = Peer::v311(address, "a");
    publisher.send_bytes(b"\x30\xff\xff\xff\x7f\x00\x01t");
    let mut stranger = Peer::connect(address);
    stranger.send_bytes(b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x04\x02\x00\x00");
    for _ in 0..200 {
        publisher.send_bytes(&[0; 300]);
        stranger.send_bytes(&[0; 300]);
    }
    // Whoever is served next comes behind all that has been read.
    Peer::v311(address, "b").expect_nothing_before_pong();
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest < 64 << 20, "somebody asked for {largest} bytes at once");
    broker.stop_blocking(std::time::Duration::ZERO).unwrap();
    let _ = DEADLINE;
}
