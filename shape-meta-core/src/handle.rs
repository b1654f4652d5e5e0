use std::{borrow::Borrow, fmt, hash, ops::Deref, str, sync::Arc};

/// The unique, opaque, printable id of one live instance of a shape, e.g. `54334872-1768476874000000`.
///
/// A handle is never empty and holds no control characters. How long it may be is a matter of
/// [`Limits`](crate::Limits), which the store checks when the shape is added.
///
/// Handles of up to 30 bytes are kept in place, so that cloning one copies 32 bytes and touches no
/// shared counter: a reader that collects ten thousand of them does not fight with others. Longer ones
/// are shared behind an [`Arc`].
#[derive(Clone)]
pub struct Handle(Repr);

const INLINE: usize = 30;

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Arc<str>),
}

impl Handle {
    /// Checks `text` and makes it a handle. No disk, no lock; allocates only above 30 bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidHandle`] for an empty text and for one with control characters (line breaks and NUL
    /// among them), which would make logs and file names unreadable.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidHandle> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(InvalidHandle::Empty);
        }
        if let Some(position) = text.find(char::is_control) {
            return Err(InvalidHandle::ControlCharacter { position });
        }
        Ok(if text.len() <= INLINE {
            let mut bytes = [0; INLINE];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            Self(Repr::Inline { len: text.len() as u8, bytes })
        } else {
            Self(Repr::Shared(text.into()))
        })
    }

    /// The text of the handle.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Inline { .. } => {
                str::from_utf8(self.as_bytes()).expect("an inline handle is copied whole from a str")
            }
            Repr::Shared(text) => text,
        }
    }

    /// The bytes of the text: what comparing and hashing use, as they need no UTF-8 check.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(text) => text.as_bytes(),
        }
    }

    /// Bytes that this handle holds outside of itself: none for a handle that is kept in place.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Shared(text) => text.len() + 2 * size_of::<usize>(),
        }
    }
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
    // `Borrow<str>` demands the hash of `str`.
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

/// Why a text is no handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidHandle {
    /// The text is empty.
    Empty,
    /// A control character stands at this byte position.
    ControlCharacter {
        /// Byte offset of the first control character.
        position: usize,
    },
}

impl fmt::Display for InvalidHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a shape handle cannot be empty"),
            Self::ControlCharacter { position } => write!(
                f,
                "a shape handle must be printable, and this one has a control character at byte {position}"
            ),
        }
    }
}

impl std::error::Error for InvalidHandle {}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn is_small_and_keeps_short_texts_in_place() {
        assert_eq!(size_of::<Handle>(), 32);
        let usual = Handle::new("54334872-1768476874000000").expect("valid");
        assert_eq!(usual.heap_bytes(), 0);
        assert_eq!(usual.as_str(), "54334872-1768476874000000");
        let long = "é".repeat(20);
        assert_eq!(Handle::new(&long).expect("valid").as_str(), long);
    }

    #[test]
    fn c7_a_long_handle_counts_what_it_holds_elsewhere() {
        let heap_bytes = |length| Handle::new("h".repeat(length)).expect("valid").heap_bytes();
        let counts_of_arc = 2 * size_of::<usize>();
        assert_eq!([INLINE, INLINE + 1].map(heap_bytes), [0, INLINE + 1 + counts_of_arc]);
    }

    #[test]
    fn is_its_text_wherever_one_is_asked_for() {
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
    fn c4_refuses_empty_and_unprintable() {
        assert_eq!(Handle::new(""), Err(InvalidHandle::Empty));
        assert_eq!(Handle::new("a\nb"), Err(InvalidHandle::ControlCharacter { position: 1 }));
        assert!(Handle::new("a\u{85}").is_err());
    }
}
