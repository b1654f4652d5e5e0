use std::{fs::File, io, path::Path};

use super::{After, Header, Offset, frame::Head};

/// A part of a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Messages in JSON, separated by commas. Empty if there are none.
    pub(crate) messages: Vec<u8>,
    /// Where to go on.
    pub(crate) end: Offset,
    /// Whether there was nothing after it when it was read.
    pub(crate) is_last: bool,
}

/// Returns whole frames after an offset, at least one if there is one, and up to about `max_bytes`.
///
/// # Errors
///
/// `NotFound` if the shape was deleted, `InvalidData` if it has no header, and those of the disk.
pub(crate) fn read(path: &Path, after: After, max_bytes: usize) -> io::Result<Chunk> {
    let file = File::open(path)?;
    // An append meanwhile is part of a later call.
    let length = file.metadata()?.len();
    let mut end = start(&file, after, length)?;
    let mut messages = Vec::new();
    while let Some(head) = Head::read(&file, end.position, length)? {
        if !messages.is_empty() && messages.len() + head.frame_length() as usize > max_bytes {
            return Ok(Chunk { messages, end, is_last: false });
        }
        let Some(payload) = head.payload(&file, end.position)? else { break };
        if !messages.is_empty() && !payload.is_empty() {
            messages.push(b',');
        }
        messages.extend(payload);
        end = Offset { transaction: head.transaction, position: end.position + head.frame_length() };
    }
    Ok(Chunk { messages, end, is_last: true })
}

/// Reads the header of a log.
pub(crate) fn header(file: &File) -> io::Result<Header> {
    let no_header = || io::Error::new(io::ErrorKind::InvalidData, "the log of a shape has no header");
    let head = Head::read(file, 0, file.metadata()?.len())?.ok_or_else(no_header)?;
    let payload = head.payload(file, 0)?.ok_or_else(no_header)?;
    serde_json::from_slice(&payload).map_err(|_| no_header())
}

/// Returns the end of the last frame that a client has.
fn start(file: &File, after: After, length: u64) -> io::Result<Offset> {
    let known = match after {
        After::Nothing => return skip(file, 1, 0, length),
        After::Now => return skip(file, usize::MAX, u64::MAX, length),
        After::Offset(known) => known,
    };
    let is_frame = match Head::read(file, known.position, length)? {
        _ if known.position == 0 => false,
        Some(head) => {
            let follows =
                head.transaction > known.transaction || (head.transaction, known.transaction) == (0, 0);
            follows && head.payload(file, known.position)?.is_some()
        }
        None => known.position == length,
    };
    if is_frame { Ok(known) } else { skip(file, 1, known.transaction, length) }
}

/// Skips this many frames, and all frames after them up to a transaction. The snapshot counts as one part: a
/// client that has a part of it names the position.
fn skip(file: &File, frames: usize, transaction: u64, length: u64) -> io::Result<Offset> {
    let mut end = Offset { transaction: 0, position: 0 };
    let mut skipped = 0;
    while let Some(head) = Head::read(file, end.position, length)? {
        let is_older = transaction > 0 && head.transaction <= transaction;
        if skipped >= frames && !is_older {
            break;
        }
        // The rest was not written completely.
        if head.payload(file, end.position)?.is_none() {
            break;
        }
        end = Offset { transaction: head.transaction, position: end.position + head.frame_length() };
        skipped += 1;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::super::{LogWriter, Snapshot};
    use super::*;

    fn log() -> (tempfile::TempDir, std::path::PathBuf, LogWriter) {
        let directory = tempfile::tempdir().expect("made");
        let path = directory.path().join("log");
        let header = Header { slot: "slot".into(), snapshot: Snapshot::parse("1:1:", 5).expect("valid") };
        let writer = LogWriter::create(&path, &header).expect("created");
        (directory, path, writer)
    }

    fn text(chunk: &Chunk) -> &str {
        std::str::from_utf8(&chunk.messages).expect("text")
    }

    #[test]
    fn a_reader_goes_on_at_its_offset() {
        let (_directory, path, mut writer) = log();
        let empty = read(&path, After::Nothing, 100).expect("read");
        assert_eq!((text(&empty), empty.end.transaction, empty.is_last), ("", 0, true));
        for (transaction, payload) in [(0, "s1"), (0, "s2"), (10, "a"), (20, "b")] {
            writer.append(transaction, payload.as_bytes()).expect("appended");
        }
        assert_eq!(text(&read(&path, After::Nothing, 100).expect("read")), "s1,s2,a,b");
        // Chunk by chunk, and from the end of each.
        let (mut after, mut seen) = (After::Nothing, Vec::new());
        loop {
            let chunk = read(&path, after, 1).expect("read");
            seen.push(text(&chunk).to_owned());
            after = After::Offset(chunk.end);
            if chunk.is_last {
                break;
            }
        }
        assert_eq!(seen, ["s1", "s2", "a", "b"]);
        let from = |text| read(&path, After::parse(text).expect("valid"), 100).expect("read");
        assert_eq!(text(&from("10_0")), "b");
        assert_eq!(text(&from("15_0")), "b");
        assert_eq!(text(&from("10_3")), "b", "a position inside of a frame is not used");
        assert_eq!(text(&from("now")), "");
        assert_eq!(from("now").end, from("20_0").end);
        assert_eq!(text(&from("0_0")), "s1,s2,a,b");
        assert_eq!(text(&from("99_0")), "");
    }

    #[test]
    fn a_frame_that_was_not_written_completely_is_not_served() {
        let (_directory, path, mut writer) = log();
        writer.append(10, b"a").expect("appended");
        let whole = std::fs::read(&path).expect("read");
        writer.append(20, b"bbbb").expect("appended");
        let longer = std::fs::read(&path).expect("read");
        for length in whole.len()..longer.len() {
            let mut torn = longer[..length].to_vec();
            std::fs::write(&path, &torn).expect("written");
            assert_eq!(text(&read(&path, After::Nothing, 100).expect("read")), "a");
            torn.resize(longer.len(), 0);
            std::fs::write(&path, &torn).expect("written");
            assert_eq!(text(&read(&path, After::Nothing, 100).expect("read")), "a");
            let (mut writer, _) = LogWriter::open(&path).expect("opened");
            assert_eq!((writer.last_transaction(), writer.bytes()), (10, whole.len() as u64));
            writer.append(20, b"bbbb").expect("appended");
            assert_eq!(std::fs::read(&path).expect("read"), longer);
        }
    }
}
