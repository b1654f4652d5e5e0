/// The file of a database that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The database file.
    Database,
    /// The WAL.
    Wal,
    /// The lock file.
    Lock,
}

/// Damage to a file. Offsets behind its end are taken modulo its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Flips bits: the offset of the byte, and the bits.
    Flip(Target, usize, u8),
    /// Truncates the file at an offset.
    Truncate(Target, usize),
    /// Zeroes a range: its offset and its length.
    Zero(Target, usize, usize),
    /// Overwrites bytes: the offset of the target, the offset of the source, and the length.
    Copy(Target, usize, usize, usize),
    /// Swaps two blocks: their numbers, and the size of a block.
    Swap(Target, usize, usize, usize),
    /// Removes the file.
    Remove(Target),
}

impl Damage {
    /// Decodes damage from the bytes of a fuzzer. Returns `None` when they are used up.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(10)?;
        *bytes = rest;
        let target = match head[0] % 8 {
            0 => Target::Lock,
            1..=3 => Target::Wal,
            _ => Target::Database,
        };
        let number = |from: usize| usize::from(u16::from_le_bytes([head[from], head[from + 1]]));
        // Three bytes, because a file is larger than 64 KiB.
        let offset = number(2) | usize::from(head[4]) << 16;
        let (other, length) = (number(5) | usize::from(head[7]) << 16, number(8));
        Some(match head[1] % 8 {
            0 => Self::Truncate(target, offset),
            1 => Self::Zero(target, offset, length),
            2 => Self::Copy(target, offset, other, length),
            3 => Self::Swap(target, offset, other, 1024),
            4 if head[9] == 0 => Self::Remove(target),
            _ => Self::Flip(target, offset, head[9] | 1),
        })
    }

    /// Returns the damaged file.
    pub fn target(&self) -> Target {
        match *self {
            Self::Flip(target, ..)
            | Self::Truncate(target, _)
            | Self::Zero(target, ..)
            | Self::Copy(target, ..)
            | Self::Swap(target, ..)
            | Self::Remove(target) => target,
        }
    }

    /// Damages the bytes of a file. `None` is a missing file.
    pub fn apply(&self, file: &mut Option<Vec<u8>>) {
        let Some(bytes) = file else { return };
        let Some(last) = bytes.len().checked_sub(1) else { return };
        let within = |offset: usize| offset % (last + 1);
        match *self {
            Self::Flip(_, offset, bits) => bytes[within(offset)] ^= bits,
            Self::Truncate(_, offset) => bytes.truncate(within(offset)),
            Self::Zero(_, from, length) => {
                let from = within(from);
                let to = (from + length).min(bytes.len());
                bytes[from..to].fill(0);
            }
            Self::Copy(_, to, from, length) => {
                let (to, from) = (within(to), within(from));
                let length = length.min(bytes.len() - to.max(from));
                bytes.copy_within(from..from + length, to);
            }
            Self::Swap(_, one, other, size) => {
                let blocks = bytes.len() / size;
                if blocks > 0 {
                    let (one, other) = (one % blocks * size, other % blocks * size);
                    for at in 0..size {
                        bytes.swap(one + at, other + at);
                    }
                }
            }
            Self::Remove(_) => *file = None,
        }
    }
}
