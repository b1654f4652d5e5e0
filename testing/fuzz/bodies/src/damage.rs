/// Which file of a database is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The database itself.
    Database,
    /// Its write-ahead log.
    Log,
    /// The file that its owner locks.
    Lock,
}

/// What happens to a file. Places behind its end are taken modulo its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// These bits of one byte are turned.
    Flip(Target, usize, u8),
    /// The file ends here.
    Truncate(Target, usize),
    /// So many bytes from here on are zero.
    Zero(Target, usize, usize),
    /// So many bytes from the first place are those from the second.
    Copy(Target, usize, usize, usize),
    /// Two blocks of this size change their places.
    Swap(Target, usize, usize, usize),
    /// The file is gone.
    Remove(Target),
}

impl Damage {
    /// Reads one from the bytes of a fuzzer; `None` when they are used up.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(10)?;
        *bytes = rest;
        let target = match head[0] % 8 {
            0 => Target::Lock,
            1..=3 => Target::Log,
            _ => Target::Database,
        };
        let number = |from: usize| usize::from(u16::from_le_bytes([head[from], head[from + 1]]));
        // Three bytes, since a file has more than 64 KiB.
        let place = number(2) | usize::from(head[4]) << 16;
        let (other, length) = (number(5) | usize::from(head[7]) << 16, number(8));
        Some(match head[1] % 8 {
            0 => Self::Truncate(target, place),
            1 => Self::Zero(target, place, length),
            2 => Self::Copy(target, place, other, length),
            3 => Self::Swap(target, place, other, 1024),
            4 if head[9] == 0 => Self::Remove(target),
            _ => Self::Flip(target, place, head[9] | 1),
        })
    }

    /// Which file it concerns.
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

    /// Does it to the bytes of the file; `None` is a file that is not there.
    pub fn apply(&self, file: &mut Option<Vec<u8>>) {
        let Some(bytes) = file else { return };
        let Some(most) = bytes.len().checked_sub(1) else { return };
        let within = |place: usize| place % (most + 1);
        match *self {
            Self::Flip(_, place, bits) => bytes[within(place)] ^= bits,
            Self::Truncate(_, place) => bytes.truncate(within(place)),
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
