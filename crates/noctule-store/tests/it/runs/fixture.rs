//! A run of format 1 as it was written once: it can be read for ever, and is written the same.

use noctule_store::{Disk, Runs, SimulatedDisk};

use crate::damage::crc32;
use crate::runs::model::{ALL, Pending, SETTINGS, Shelf};

const NAME: &str = "run-0000000000000001.run";

/// The checksum of a part of the run at this place.
fn sum(place: usize, part: &[u8]) -> [u8; 4] {
    let mut bytes = 1_u64.to_le_bytes().to_vec();
    bytes.extend((place as u64).to_le_bytes());
    bytes.extend(part);
    crc32(&bytes).to_le_bytes()
}

fn chunk(place: usize, queue: u64, first: u64, last: u64, messages: &[&[u8]]) -> Vec<u8> {
    let content = messages.concat();
    let mut chunk = b"NCHK".to_vec();
    chunk.extend(u32::try_from(content.len()).expect("small").to_le_bytes());
    for number in [queue, first, last] {
        chunk.extend(number.to_le_bytes());
    }
    chunk.extend(u32::try_from(messages.len()).expect("small").to_le_bytes());
    let checked = [&chunk[..], &content].concat();
    chunk.extend(sum(place, &checked));
    chunk.extend(content);
    chunk
}

/// A run of two queues with a body each and one that both share, put together from the documented
/// format alone.
fn run() -> Vec<u8> {
    let mut bytes = b"NOCTRUN\n".to_vec();
    bytes.extend([1, 0, 0, 0]);
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(crc32(&bytes).to_le_bytes());
    let checked = [&[4, 0, 0, 0], &b"both"[..]].concat();
    bytes.extend([4, 0, 0, 0]);
    bytes.extend(sum(24, &checked));
    bytes.extend(b"both");
    let shared = |seq: u8| {
        let head = [seq, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 1, 0xF];
        [&head[..], &24_u64.to_le_bytes()].concat()
    };
    let own = [&[3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0][..], b"me"].concat();
    let chunks_begin = bytes.len();
    let first = chunk(chunks_begin, 5, 2, 3, &[&shared(2), &own]);
    bytes.extend(&first);
    let second = chunk(bytes.len(), 6, 9, 9, &[&shared(9)]);
    bytes.extend(&second);
    let index_begin = bytes.len();
    let mut index = 2_u32.to_le_bytes().to_vec();
    index.extend((chunks_begin as u64).to_le_bytes());
    for (queue, seqs, chunk, messages) in
        [(5_u64, [2_u64, 3], &first, 2_u32), (6, [9; 2], &second, 1)]
    {
        index.extend(queue.to_le_bytes());
        index.extend(seqs.map(u64::to_le_bytes).concat());
        index.extend(u32::try_from(chunk.len()).expect("small").to_le_bytes());
        index.extend(messages.to_le_bytes());
    }
    bytes.extend(sum(index_begin, &index));
    bytes.extend(index);
    let mut footer = b"NRUNEND\n".to_vec();
    for number in [1, chunks_begin, index_begin, 2, 3, 1] {
        footer.extend((number as u64).to_le_bytes());
    }
    footer.extend(crc32(&footer).to_le_bytes());
    [bytes, footer].concat()
}

fn manifest(length: usize) -> Vec<u8> {
    let mut manifest = b"NMAN".to_vec();
    manifest.extend([1, 0, 0, 0]);
    manifest.extend(2_u64.to_le_bytes());
    manifest.extend(1_u32.to_le_bytes());
    manifest.extend(1_u64.to_le_bytes());
    manifest.extend((length as u64).to_le_bytes());
    manifest.extend(crc32(&manifest).to_le_bytes());
    manifest
}

#[test]
fn a_run_of_format_1_is_read() {
    let mut disk = SimulatedDisk::new();
    disk.create(NAME).and_then(|mut file| file.write_at(&run(), 0)).expect("there is room");
    let (mut runs, damaged) =
        Runs::open(Box::new(disk), SETTINGS, &manifest(run().len())).expect("it opens");
    assert_eq!(damaged, []);
    let mut read = Vec::new();
    for queue in 0..10 {
        let slice = runs.read(queue, 0, &ALL, |message| {
            read.push((queue, message.seq, message.flags.to_vec(), message.body.to_vec()));
        });
        assert_eq!(slice.expect("there is power").damaged, []);
    }
    let both = b"both".to_vec();
    let expected =
        [(5, 2, vec![0xF], both.clone()), (5, 3, vec![], b"me".to_vec()), (6, 9, vec![0xF], both)];
    assert_eq!(read, expected);
}

#[test]
fn what_is_written_is_format_1() {
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    let mut pending = Pending::default();
    pending.push(&[(6, 9), (5, 2)], &[0xF], b"both");
    pending.push(&[(5, 3)], &[], b"me");
    shelf.spill(&mut pending).expect("there is room");
    let mut written = Vec::new();
    shelf.disk.damage(NAME, |bytes| written.clone_from(bytes));
    assert_eq!(written, run());
    assert_eq!(shelf.runs.manifest(), manifest(written.len()));
}
