//! What lies beside a database and belongs to it: the write-ahead log, and the rollback journal.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read},
};

/// Where the pages are that are newer (in a log) or older and right (in a journal) than those of the database.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Beside {
    pub(super) page_size: Option<usize>,
    /// Page number to the place in the file.
    pub(super) pages: HashMap<u32, u64>,
    /// How many pages the database has.
    pub(super) count: Option<u32>,
}

pub(super) fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_be_bytes)
}

/// A size that pages can have.
pub(super) fn page_size(bytes: u32) -> Option<usize> {
    let bytes = if bytes == 1 { 65_536 } else { bytes };
    (bytes.is_power_of_two() && (512..=65_536).contains(&bytes)).then_some(bytes as usize)
}

/// The commits of a write-ahead log: everything up to the first frame that does not verify, as SQLite has
/// it. A file that is no log has none.
pub(super) fn log(file: &File) -> Beside {
    let mut log = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; 32];
    if log.read_exact(&mut header).is_err() {
        return Beside::default();
    }
    let big_endian = match number(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return Beside::default(),
    };
    let mut sum = Sum { big_endian, state: [0; 2] };
    sum.add(&header[..24]);
    let Some(size) = page_size(number(&header, 8)).filter(|_| sum.is(&header[24..])) else {
        return Beside::default();
    };

    let mut beside = Beside { page_size: Some(size), ..Beside::default() };
    let mut open = Vec::new();
    let mut frame = vec![0; 24 + size];
    let mut at = 32;
    while log.read_exact(&mut frame).is_ok() {
        sum.add(&frame[..8]);
        sum.add(&frame[24..]);
        if frame[8..16] != header[16..24] || !sum.is(&frame[16..24]) {
            break;
        }
        open.push((number(&frame, 0), at + 24));
        at += frame.len() as u64;
        let count = number(&frame, 4);
        if count != 0 {
            beside.pages.extend(open.drain(..));
            beside.count = Some(count);
        }
    }
    beside
}

struct Sum {
    big_endian: bool,
    state: [u32; 2],
}

impl Sum {
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

    fn is(&self, bytes: &[u8]) -> bool {
        self.state == [number(bytes, 0), number(bytes, 4)]
    }
}

const JOURNAL: &[u8; 8] = &[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// The pages as they were before the transaction that a rollback journal is of. A journal whose transaction
/// has ended has no header, and no pages.
pub(super) fn journal(file: &File) -> Beside {
    let mut beside = Beside::default();
    let mut bytes = Vec::new();
    if BufReader::new(file).read_to_end(&mut bytes).is_err() {
        return beside;
    }
    let mut at = 0;
    // A journal that was synced in between has a header for each part.
    while let Some(header) = bytes.get(at..at + 28).filter(|header| header.starts_with(JOURNAL)) {
        let [records, nonce, count, sector, size] = [8, 12, 16, 20, 24].map(|at| number(header, at));
        let Some(size) = page_size(size).filter(|_| (32..=65_536).contains(&sector)) else { break };
        let sector = sector as usize;
        beside.page_size.get_or_insert(size);
        beside.count.get_or_insert(count);
        at += sector;
        let record = 8 + size;
        let there = (bytes.len().saturating_sub(at)) / record;
        let records = if records == u32::MAX { there } else { there.min(records as usize) };
        for place in (0..records).map(|index| at + index * record) {
            let page = &bytes[place + 4..place + 4 + size];
            let sum = (1..).map(|step| size.checked_sub(200 * step)).map_while(|at| at.filter(|at| *at > 0));
            let sum = sum.fold(nonce, |sum, at| sum.wrapping_add(page[at].into()));
            if sum != number(&bytes, place + 4 + size) {
                return beside;
            }
            beside.pages.entry(number(&bytes, place)).or_insert(place as u64 + 4);
        }
        at = (at + records * record).next_multiple_of(sector);
    }
    beside
}
