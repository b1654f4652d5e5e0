use std::{
    borrow::Borrow,
    ffi::OsStr,
    fmt,
    hash,
    ops::Deref,
    str,
    // Not those of `crate::sync`: the numbers of all stores of the process come from one place.
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{DefinitionHash, Timestamp};

/// The unique, opaque, printable id of a live shape, e.g. `54334872-1768476874000000`.
///
/// A handle is not empty and contains no control characters. Its maximum length is set by
/// [`Limits`](crate::Limits), and checked when the shape is added.
///
/// Handles of up to 30 bytes are stored inline: cloning one copies 32 bytes and touches no shared counter, so
/// readers that collect thousands of them do not contend. Longer handles are shared behind an [`Arc`].
#[derive(Clone)]
pub struct Handle(Repr);

const INLINE: usize = 30;

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Arc<str>),
}

impl Handle {
    /// Validates `text` and returns it as a handle. Allocates only above 30 bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidHandle`] if `text` is empty or contains control characters, such as line breaks and NUL,
    /// which would make logs and file names unreadable.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidHandle> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(InvalidHandle::Empty);
        }
        if let Some(position) = text.find(char::is_control) {
            return Err(InvalidHandle::ControlCharacter { position });
        }
        Ok(Self::of_valid(text))
    }

    /// Returns a new handle for a shape with this hash, `hash-microseconds`: the lower half of the hash, and
    /// the time of the clock. It is unique in this process, also if the clock goes back. Costs one atomic
    /// update, and no allocation that stays.
    ///
    /// Another process may generate the same one in the same microsecond for the same hash. An add of it is
    /// then refused as [`DuplicateHandle`](crate::Refusal::DuplicateHandle).
    pub fn generate(hash: DefinitionHash) -> Self {
        static LATEST: AtomicU64 = AtomicU64::new(0);
        let now = Timestamp::now().as_micros();
        let after = |latest: u64| now.max(latest.saturating_add(1));
        let update = LATEST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |latest| Some(after(latest)));
        let (Ok(latest) | Err(latest)) = update;
        // Digits and a hyphen are printable.
        Self::of_valid(&format!("{}-{}", hash.get() as u32, after(latest)))
    }

    /// Returns the handle with this text, which is valid.
    fn of_valid(text: &str) -> Self {
        if text.len() > INLINE {
            return Self(Repr::Shared(text.into()));
        }
        let mut bytes = [0; INLINE];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self(Repr::Inline { len: text.len() as u8, bytes })
    }

    /// Returns the text of the handle.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Inline { .. } => {
                str::from_utf8(self.as_bytes()).expect("an inline handle is copied whole from a str")
            }
            Repr::Shared(text) => text,
        }
    }

    /// Returns the bytes of the text, for comparing and hashing without a UTF-8 check.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(text) => text.as_bytes(),
        }
    }

    /// Returns a name for a file or a directory with the stored data of this shape.
    ///
    /// Different handles have different names, also where a file system does not tell upper from lower case
    /// or normalizes Unicode, and [`from_file_name`](Self::from_file_name) returns the handle. A name
    /// consists of lower-case ASCII letters, digits, `-`, `_` and `%`. So it contains no separator, is never
    /// `.` or `..`, and is not reserved by Windows. Handles of letters in lower case, digits, `-` and `_`
    /// are their own names; every other byte becomes `%` and two hexadecimal digits.
    ///
    /// ```
    /// # use shape_meta_core::Handle;
    /// # fn main() -> Result<(), shape_meta_core::InvalidHandle> {
    /// assert_eq!(Handle::new("54334872-1768476874000000")?.file_name()?, "54334872-1768476874000000");
    /// assert_eq!(Handle::new("../A")?.file_name()?, "%2e%2e%2f%41");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidHandle::FileNameTooLong`] if the name would be longer than 255 bytes, which file systems do
    /// not take. A limit of 85 bytes on handles
    /// ([`Limits::max_handle_bytes`](crate::Limits::max_handle_bytes)) excludes that for every handle.
    pub fn file_name(&self) -> Result<String, InvalidHandle> {
        let escapes_first = is_reserved_name(self.as_bytes());
        let mut name = String::with_capacity(self.as_bytes().len());
        for (at, byte) in self.as_bytes().iter().enumerate() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' if at > 0 || !escapes_first => {
                    name.push(char::from(*byte));
                }
                _ => name.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]),
            }
        }
        match name.len() {
            ..=MAX_FILE_NAME => Ok(name),
            bytes => Err(InvalidHandle::FileNameTooLong { bytes }),
        }
    }

    /// Returns the handle with this [`file_name`](Self::file_name). `None` if no handle has it: the file is
    /// something else.
    pub fn from_file_name(name: impl AsRef<OsStr>) -> Option<Self> {
        let name = name.as_ref().to_str()?;
        let mut bytes = Vec::with_capacity(name.len());
        let mut rest = name.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let mut digit = || char::from(rest.next()?).to_digit(16);
                    u8::try_from(digit()? << 4 | digit()?).ok()?
                }
                _ => byte,
            });
        }
        let handle = Self::new(String::from_utf8(bytes).ok()?).ok()?;
        // Other spellings of the same handle are not its name.
        (handle.file_name().ok()? == name).then_some(handle)
    }

    /// Returns the heap memory of this handle, in bytes: zero for an inline handle.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Shared(text) => text.len() + 2 * size_of::<usize>(),
        }
    }
}

/// The longest name that common file systems take, in bytes.
const MAX_FILE_NAME: usize = 255;

/// Whether Windows takes a file with this name for a device.
fn is_reserved_name(name: &[u8]) -> bool {
    matches!(
        name,
        b"con" | b"prn" | b"aux" | b"nul" | [b'c', b'o', b'm', b'0'..=b'9'] | [b'l', b'p', b't', b'0'..=b'9']
    )
}

fn hex_digit(value: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(value & 15)])
}

impl Deref for Handle {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Handle {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Handle {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Handle {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Handle {}

impl PartialEq<str> for Handle {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Handle {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialOrd for Handle {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Handle {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl hash::Hash for Handle {
    // `Borrow<str>` requires the hash of `str`.
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:?})", self.as_str())
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TryFrom<&str> for Handle {
    type Error = InvalidHandle;

    fn try_from(text: &str) -> Result<Self, InvalidHandle> {
        Self::new(text)
    }
}

impl TryFrom<String> for Handle {
    type Error = InvalidHandle;

    fn try_from(text: String) -> Result<Self, InvalidHandle> {
        Self::new(text)
    }
}

impl str::FromStr for Handle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, InvalidHandle> {
        Self::new(text)
    }
}

/// The reason why a text is not a valid handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidHandle {
    /// The text is empty.
    Empty,
    /// The text contains a control character.
    ControlCharacter {
        /// The byte offset of the first control character.
        position: usize,
    },
    /// The file name of the handle is too long. The handle itself is valid.
    FileNameTooLong {
        /// The length of the name, in bytes.
        bytes: usize,
    },
}

impl fmt::Display for InvalidHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("invalid handle: it is empty"),
            Self::ControlCharacter { position } => {
                write!(f, "invalid handle: control character at byte {position}; handles must be printable")
            }
            Self::FileNameTooLong { bytes } => {
                write!(
                    f,
                    "handle too long for a file name: the name has {bytes} bytes, the limit is \
                     {MAX_FILE_NAME} bytes"
                )
            }
        }
    }
}

impl std::error::Error for InvalidHandle {}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn is_small_and_keeps_short_texts_inline() {
        assert_eq!(size_of::<Handle>(), 32);
        let typical = Handle::new("54334872-1768476874000000").expect("valid");
        assert_eq!(typical.heap_bytes(), 0);
        assert_eq!(typical.as_str(), "54334872-1768476874000000");
        let long = "é".repeat(20);
        assert_eq!(Handle::new(&long).expect("valid").as_str(), long);
    }

    #[test]
    fn c2_generated_handles_are_unique_and_inline() {
        let generate =
            || (0..500).map(|_| Handle::generate(DefinitionHash::new(u64::MAX))).collect::<Vec<_>>();
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(generate)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        for handle in &all {
            assert_eq!(Handle::new(handle.as_str()).as_ref(), Ok(handle));
            assert_eq!(
                (handle.heap_bytes(), handle.split_once('-').map(|(hash, _)| hash)),
                (0, Some("4294967295"))
            );
        }
    }

    #[test]
    fn c7_a_long_handle_counts_its_heap_memory() {
        let heap_bytes = |length| Handle::new("h".repeat(length)).expect("valid").heap_bytes();
        let counts_of_arc = 2 * size_of::<usize>();
        assert_eq!([INLINE, INLINE + 1].map(heap_bytes), [0, INLINE + 1 + counts_of_arc]);
    }

    #[test]
    fn converts_to_and_from_its_text() {
        let [a, b] = ["a", "b"].map(|text| Handle::new(text).expect("valid"));
        assert_eq!((&*a, AsRef::<str>::as_ref(&a), Borrow::<str>::borrow(&a)), ("a", "a", "a"));
        assert!(a == "a" && a == *"a");
        assert!(a != "b" && a != *"b");
        assert_eq!((a.partial_cmp(&b), b.cmp(&a)), (Some(Ordering::Less), Ordering::Greater));
        for read in [Handle::try_from("a"), Handle::try_from("a".to_owned()), "a".parse()] {
            assert_eq!(read.as_ref(), Ok(&a));
        }
    }

    #[test]
    fn c12_a_file_name_is_safe_and_names_one_handle() {
        let handles = [
            "54334872-1768476874000000",
            "a",
            "A",
            "..",
            ".",
            "a/b",
            "a\\b",
            "a%2fb",
            "a%2Fb",
            "con",
            "CON",
            "com1",
            "nul",
            "con-1",
            "é",
            "e\u{301}",
            " ",
            "a ",
            "a.",
            "-a",
            "~",
            "a:b",
            "%",
            "%%",
            "\u{202e}x",
        ];
        let mut names = std::collections::HashSet::new();
        for text in handles {
            let handle = Handle::new(text).expect("valid");
            let name = handle.file_name().expect("short");
            let is_safe = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'%');
            assert!(name.bytes().all(is_safe) && !is_reserved_name(name.as_bytes()), "{name}");
            assert_eq!(Handle::from_file_name(&name), Some(handle), "{name}");
            assert!(names.insert(name), "{text} has the name of another handle");
        }
        for other in ["", ".", "lost+found", "A", "%41x%2", "%2", "%g1", "%61", "con", "%0a", "%ff", "%2F"] {
            assert_eq!(Handle::from_file_name(other), None, "{other:?}");
        }
        let long = |bytes| Handle::new("A".repeat(bytes)).expect("valid").file_name();
        assert_eq!(long(85).expect("255 bytes").len(), 255);
        assert_eq!(long(86), Err(InvalidHandle::FileNameTooLong { bytes: 258 }));
    }

    #[test]
    fn c4_empty_and_unprintable_handles_are_refused() {
        assert_eq!(Handle::new(""), Err(InvalidHandle::Empty));
        assert_eq!(Handle::new("a\nb"), Err(InvalidHandle::ControlCharacter { position: 1 }));
        assert!(Handle::new("a\u{85}").is_err());
    }
}
