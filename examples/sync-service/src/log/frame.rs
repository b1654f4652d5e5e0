use std::{fs::File, io, os::unix::fs::FileExt};

/// The length of the payload, its checksum, and the transaction.
pub(crate) const HEAD: usize = 16;
/// The longest payload, so that a damaged length does not allocate.
pub(crate) const MAX_PAYLOAD: usize = 1 << 30;

/// The head of a frame in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) transaction: u64,
    length: u32,
    checksum: u32,
}

/// Returns a frame.
pub(crate) fn encode(transaction: u64, payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD);
    let length =
        length.ok_or_else(|| io::Error::other("a transaction changes more than 1 GiB of a shape"))?;
    let mut frame = Vec::with_capacity(HEAD + payload.len());
    frame.extend(length.to_le_bytes());
    frame.extend(checksum(transaction, payload).to_le_bytes());
    frame.extend(transaction.to_le_bytes());
    frame.extend(payload);
    Ok(frame)
}

fn checksum(transaction: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&transaction.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

impl Head {
    /// Reads the head of the frame at this position. `None` at the end of the file and where no frame fits.
    pub(crate) fn read(file: &File, position: u64, file_length: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEAD];
        if position + HEAD as u64 > file_length {
            return Ok(None);
        }
        file.read_exact_at(&mut bytes, position)?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let transaction = u64::from(word(12)) << 32 | u64::from(word(8));
        let head = Self { transaction, length: word(0), checksum: word(4) };
        let fits = head.length as usize <= MAX_PAYLOAD && position + head.frame_length() <= file_length;
        Ok(fits.then_some(head))
    }

    pub(crate) fn frame_length(&self) -> u64 {
        (HEAD as u64) + u64::from(self.length)
    }

    /// Reads the payload. `None` if it does not match its checksum: it is not written completely, or the
    /// position is not that of a frame.
    pub(crate) fn payload(&self, file: &File, position: u64) -> io::Result<Option<Vec<u8>>> {
        let mut payload = vec![0; self.length as usize];
        file.read_exact_at(&mut payload, position + HEAD as u64)?;
        Ok((checksum(self.transaction, &payload) == self.checksum).then_some(payload))
    }
}
