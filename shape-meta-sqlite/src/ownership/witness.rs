use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use shape_meta_core::{
    Seq,
    store_parts::{Identity, checksum},
};

use crate::format::meta::Meta;

/// What the lock file says about the database next to it: its latest opening, and how far that came (C12).
///
/// An older state that is written into the very file of a database has its identities, and its
/// [origin](crate::ownership::file_id::FileOrigin). The lock file shows it: it names a later opening, or a
/// later sequence number. An older state of both that is written into these two files is not noticed.
///
/// Only the trust in stored data depends on it. If it is missing or torn, the database is not trusted, which
/// deletes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The opening that owns the database. While an opening takes it over, also the one before it.
    pub(crate) openings: [Option<Identity>; 2],
    /// The database was at this sequence number.
    pub(crate) last_seq: Seq,
}

/// The first line of the lock file is the process id of the owner, padded to this length.
pub(super) const PROCESS_ID_BYTES: usize = 20;
/// Where the line of the witness begins.
const OFFSET: u64 = PROCESS_ID_BYTES as u64 + 1;
/// How often a line that its owner is writing at this moment is read again.
const READS: usize = 3;

impl Witness {
    /// Reads the witness in a lock file. `None` if there is none, and if it is torn.
    pub(super) fn read(file: &File) -> Option<Self> {
        (0..READS).find_map(|_| {
            let (mut file, mut line) = (file, Vec::new());
            file.seek(SeekFrom::Start(OFFSET)).ok()?;
            file.take(512).read_to_end(&mut line).ok()?;
            let line = line.split(|byte| *byte == b'\n').next()?;
            Self::decode(std::str::from_utf8(line).ok()?)
        })
    }

    /// Writes the witness into the lock file of the owner. Synced, it also outlasts a power loss.
    pub(super) fn write(&self, file: &File, sync: bool) -> io::Result<()> {
        let mut writer = file;
        writer.seek(SeekFrom::Start(OFFSET))?;
        writer.write_all(self.encode().as_bytes())?;
        if sync { file.sync_data() } else { Ok(()) }
    }

    /// Whether the database in this state is the one that the lock file was written for, and not an older
    /// one.
    pub(crate) fn vouches_for(&self, found: &Meta) -> bool {
        found.opening.is_some() && self.openings.contains(&found.opening) && found.last_seq >= self.last_seq
    }

    /// A line of always the same length, so that it replaces the one before it by one write.
    fn encode(&self) -> String {
        let [opening, or] =
            self.openings.map(|opening| opening.map_or("-".repeat(32), |opening| opening.to_string()));
        let text = format!("opening {opening} or {or} at {:020}", self.last_seq.get());
        let sum = checksum::of(Seq::ZERO, text.as_bytes());
        format!("{text} checksum {sum:016x}\n")
    }

    fn decode(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut after = |word: &str| (words.next()? == word).then(|| words.next()).flatten();
        let openings = [after("opening")?, after("or")?].map(Identity::from_hex);
        let witness = Self { openings, last_seq: Seq::new(after("at")?.parse().ok()?) };
        // Also compares the checksum.
        (witness.encode().trim_end() == line).then_some(witness)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use shape_meta_core::Counts;

    use super::*;

    fn meta(opening: Option<Identity>, seq: u64) -> Meta {
        let counts = Counts::default();
        Meta { last_seq: Seq::new(seq), counts, epoch: 1, database: opening, opening }
    }

    #[test]
    fn c12_a_witness_vouches_for_its_opening_from_its_number_on() {
        let [ours, before, other] = [(); 3].map(|()| Some(Identity::random().expect("random bytes")));
        let witness = Witness { openings: [ours, None], last_seq: Seq::new(7) };
        assert!(witness.vouches_for(&meta(ours, 7)) && witness.vouches_for(&meta(ours, 8)));
        assert!(!witness.vouches_for(&meta(ours, 6)), "it has been further");
        assert!(!witness.vouches_for(&meta(before, 7)) && !witness.vouches_for(&meta(None, 7)));
        let taking_over = Witness { openings: [ours, before], ..witness };
        assert!(taking_over.vouches_for(&meta(before, 7)) && !taking_over.vouches_for(&meta(other, 9)));
    }

    #[test]
    fn c12_a_torn_witness_is_none() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("lock");
        fs::write(&path, "4711").expect("writes");
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("opens");
        assert_eq!(Witness::read(&file), None, "the lock file of an earlier version");
        let opening = Some(Identity::random().expect("random bytes"));
        for (seq, openings) in [(u64::MAX, [opening, None]), (0, [None, opening])] {
            let witness = Witness { openings, last_seq: Seq::new(seq) };
            witness.write(&file, true).expect("writes");
            assert_eq!(Witness::read(&file), Some(witness));
        }
        let text = fs::read(&path).expect("reads");
        for at in OFFSET as usize..text.len() - 1 {
            let mut torn = text.clone();
            torn[at] ^= 1;
            fs::write(&path, &torn).expect("writes");
            assert_eq!(Witness::read(&file), None, "byte {at} is damaged");
        }
    }
}
