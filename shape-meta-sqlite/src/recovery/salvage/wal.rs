//! SQLite's write-ahead log.

use std::{
    fs::File,
    io::{BufReader, Read},
};

use super::page_overrides::{PageOverrides, page_size, read_u32};

/// Returns the committed pages of a WAL.
///
/// As in SQLite, the WAL ends at its first frame with a wrong salt or checksum. A file that is not a WAL has
/// no pages.
pub(super) fn overrides(file: &File) -> PageOverrides {
    let mut wal = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; 32];
    if wal.read_exact(&mut header).is_err() {
        return PageOverrides::default();
    }
    let big_endian = match read_u32(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return PageOverrides::default(),
    };
    let mut checksum = Checksum { big_endian, state: [0; 2] };
    checksum.add(&header[..24]);
    let Some(size) = page_size(read_u32(&header, 8)).filter(|_| checksum.matches(&header[24..])) else {
        return PageOverrides::default();
    };

    let mut overrides = PageOverrides { page_size: Some(size), ..PageOverrides::default() };
    let mut uncommitted = Vec::new();
    let mut frame = vec![0; 24 + size];
    let mut at = 32;
    while wal.read_exact(&mut frame).is_ok() {
        checksum.add(&frame[..8]);
        checksum.add(&frame[24..]);
        if frame[8..16] != header[16..24] || !checksum.matches(&frame[16..24]) {
            break;
        }
        uncommitted.push((read_u32(&frame, 0), at + 24));
        at += frame.len() as u64;
        let count = read_u32(&frame, 4);
        if count != 0 {
            overrides.pages.extend(uncommitted.drain(..));
            overrides.count = Some(count);
        }
    }
    overrides
}

/// Cumulative checksum of a WAL.
struct Checksum {
    big_endian: bool,
    state: [u32; 2],
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: [u8; 4]| match self.big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        };
        let [mut a, mut b] = self.state;
        let (pairs, _) = bytes.as_chunks::<8>();
        for [first @ .., e, f, g, h] in pairs {
            a = a.wrapping_add(word(*first)).wrapping_add(b);
            b = b.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(a);
        }
        self.state = [a, b];
    }

    fn matches(&self, bytes: &[u8]) -> bool {
        self.state == [read_u32(bytes, 0), read_u32(bytes, 4)]
    }
}
