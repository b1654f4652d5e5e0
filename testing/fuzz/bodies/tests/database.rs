//! Databases with typical damages of disks, one at a time, and with random damages.

use shape_meta_fuzz_bodies::{Damage, Opening, Target, database, database_bytes, sample};

use crate::mangle::tries;

const PAGE: usize = 1024;

/// Checks each damage with one of the openings in turn, so that every opening is covered without checking
/// each damage six times.
fn each(damages: impl Iterator<Item = Damage>) {
    for (number, damage) in damages.enumerate() {
        database(Opening::ALL[number % Opening::ALL.len()], &[damage]);
    }
}

#[test]
fn c11_a_valid_database_opens_in_every_way() {
    for opening in Opening::ALL {
        database(opening, &[]);
    }
}

#[test]
fn c11_no_flipped_bit_of_the_header_loses_the_file() {
    each((0..100).map(|at| Damage::Flip(Target::Database, at, 1 << (at * 3 % 8))));
}

#[test]
fn c11_no_flipped_byte_of_a_page_loses_the_file_or_is_returned() {
    let length = sample().database.len();
    // The headers of pages, which have their structure, and bytes spread over the file.
    let headers = (1..length / PAGE).flat_map(|page| [page * PAGE, page * PAGE + 1 + page % 15]);
    each(headers.chain((100..length).step_by(997)).map(|at| Damage::Flip(Target::Database, at, 0xff)));
}

#[test]
fn c11_no_flipped_byte_of_the_wal_loses_the_file() {
    let length = sample().wal.len();
    each((0..64).step_by(3).chain((64..length).step_by(499)).map(|at| Damage::Flip(Target::Wal, at, 0x55)));
}

#[test]
fn c11_no_truncation_loses_the_file() {
    for (target, length) in [(Target::Database, sample().database.len()), (Target::Wal, sample().wal.len())] {
        let pages = (0..length).step_by(PAGE).flat_map(|at| [at, at + 1 + at / PAGE * 31 % 1022]);
        each([0, 1, 15, 16, 31, 32, 99, 100].into_iter().chain(pages).map(|at| Damage::Truncate(target, at)));
    }
}

#[test]
fn c11_no_lost_or_misplaced_page_loses_the_file() {
    let pages = sample().database.len() / PAGE;
    each((0..pages).flat_map(|page| {
        let (one, other) = ((page * 7 + 3) % pages, (page * 5 + 2) % pages);
        [
            Damage::Zero(Target::Database, page * PAGE, PAGE),
            Damage::Swap(Target::Database, page, one, PAGE),
            Damage::Copy(Target::Database, page * PAGE, other * PAGE, PAGE),
        ]
    }));
    let wal = sample().wal.len();
    each((0..wal).step_by(3 * PAGE).map(|at| Damage::Zero(Target::Wal, at, PAGE)));
    each((0..wal / PAGE).step_by(3).map(|page| Damage::Swap(Target::Wal, page, page + 2, PAGE + 24)));
}

#[test]
fn c11_no_missing_file_loses_the_others() {
    for opening in Opening::ALL {
        for targets in
            [&[Target::Database][..], &[Target::Wal], &[Target::Lock], &[Target::Wal, Target::Lock]]
        {
            let damages: Vec<_> = targets.iter().map(|target| Damage::Remove(*target)).collect();
            database(opening, &damages);
        }
    }
    each((0..sample().lock.len()).map(|at| Damage::Flip(Target::Lock, at, 0xff)));
}

#[test]
fn c11_no_random_damage_loses_the_file_or_is_returned() {
    let (tries, mut rng) = tries(200);
    for number in 0..tries {
        let mut bytes = vec![number as u8];
        bytes.extend((0..rng.usize(10..=50)).map(|_| rng.u8(..)));
        eprintln!("{bytes:02x?}");
        database_bytes(&bytes);
    }
}
