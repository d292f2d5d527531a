//! Format 1 as it was written once: it can be read for ever, and is written the same.

use noctule_store::{Batch, Disk, Log, Repair, SimulatedDisk};

use crate::book::{SETTINGS, read};
use crate::damage::crc32;

const NAME: &str = "log-0000000000000001.seg";

/// A segment with one batch of two records, put together from the documented format alone.
fn segment() -> Vec<u8> {
    let mut bytes = b"NOCTULE\n".to_vec();
    bytes.extend([1, 0, 7, 0, 0, 0, 0, 0]);
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(crc32(&bytes).to_le_bytes());
    let mut body = Vec::new();
    for content in [&[5, 0, 0, 0][..], &[6, 0, 0, 0, 9]] {
        let mut record = u32::try_from(content.len()).expect("small").to_le_bytes().to_vec();
        record.extend(content);
        body.extend(&record[..4]);
        body.extend(crc32(&record).to_le_bytes());
        body.extend(content);
    }
    let mut header = b"NFRM".to_vec();
    header.extend(u32::try_from(body.len()).expect("small").to_le_bytes());
    header.extend(1_u64.to_le_bytes());
    header.extend(1_000_u64.to_le_bytes());
    header.extend(1_700_000_000_000_u64.to_le_bytes());
    header.extend(2_u32.to_le_bytes());
    header.extend([0; 4]);
    let checked = [&1_u64.to_le_bytes()[..], &header].concat();
    header.extend(crc32(&checked).to_le_bytes());
    [bytes, header, body].concat()
}

#[test]
fn a_segment_of_format_1_is_read() {
    let mut disk = SimulatedDisk::new();
    disk.create(NAME).and_then(|mut file| file.write_at(&segment(), 0)).expect("there is room");
    let (numbers, summary) = read(&disk);
    assert_eq!((numbers, summary.is_clean()), (vec![5, 6], true), "{summary}");
}

#[test]
fn what_is_written_is_format_1() {
    let disk = SimulatedDisk::new();
    let opened = Log::open(Box::new(disk.clone()), SETTINGS, Repair::Salvage, |_| Ok(()));
    let (mut log, _) = opened.expect("it opens");
    let mut batch = Batch::new();
    batch.push(|out| out.extend([5, 0, 0, 0])).expect("it fits");
    batch.push(|out| out.extend([6, 0, 0, 0, 9])).expect("it fits");
    log.commit(&mut batch).expect("there is room");
    let (mut written, expected) = (Vec::new(), segment());
    disk.damage(NAME, |bytes| written.clone_from(bytes));
    assert_eq!(written.len(), expected.len());
    // All but the two times, and the checksum over them.
    for range in [0..56, 72..80, 84..expected.len()] {
        assert_eq!(written[range.clone()], expected[range]);
    }
}

/// The same in a file that is used again, with a batch of its former life behind it.
fn segment_used_again() -> Vec<u8> {
    let mut bytes = segment();
    bytes[32..36].copy_from_slice(&77_u32.to_le_bytes());
    let checksum = crc32(&bytes[..36]);
    bytes[36..40].copy_from_slice(&checksum.to_le_bytes());
    let (header, records) = (40, 84);
    bytes[header + 36..header + 40].copy_from_slice(&77_u32.to_le_bytes());
    let checked = [&1_u64.to_le_bytes()[..], &bytes[header..header + 40]].concat();
    let checksum = crc32(&checked);
    bytes[header + 40..records].copy_from_slice(&checksum.to_le_bytes());
    for at in [records + 4, records + 12 + 4] {
        for (byte, mask) in bytes[at..at + 4].iter_mut().zip(checksum.to_le_bytes()) {
            *byte ^= mask;
        }
    }
    [&bytes[..], &segment()[header..]].concat()
}

#[test]
fn a_segment_that_is_used_again_is_read_and_what_was_in_it_before_is_not() {
    let mut disk = SimulatedDisk::new();
    let bytes = segment_used_again();
    disk.create(NAME).and_then(|mut file| file.write_at(&bytes, 0)).expect("there is room");
    let (numbers, summary) = read(&disk);
    assert_eq!((numbers, summary.is_clean()), (vec![5, 6], true), "{summary}");
}
