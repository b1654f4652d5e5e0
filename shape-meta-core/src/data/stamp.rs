use std::{error, fmt, sync::Arc};

use crate::{Definition, Error, ErrorKind, NewShape, Record, Result};

/// What the shapes of a database were made with: the version of the application's definitions, and the source
/// of their data. The database keeps it, and each open compares it with that of the application; see
/// [`StampCheck`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    version: u64,
    source: Box<str>,
}

impl Stamp {
    /// Returns a stamp. Increase `version` when equal definitions get another key, encoding, relations or
    /// index flag than before. `source` identifies the database that the shapes read, and has any form; empty
    /// if there is only one.
    pub fn new(version: u64, source: impl Into<Box<str>>) -> Self {
        Self { version, source: source.into() }
    }

    /// Returns the stamp of shapes over a PostgreSQL database: its cluster, by the system identifier and the
    /// timeline of `IDENTIFY_SYSTEM`, and its name. A cluster that was made anew has another identifier, one
    /// that was restored to an earlier state or promoted has another timeline.
    pub fn of_postgres(version: u64, system_identifier: u64, timeline: u32, database: &str) -> Self {
        Self::new(version, format!("{system_identifier}/{timeline}/{database}"))
    }

    /// Returns the version of the definitions.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the identity of the source.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of source {:?}", self.version, self.source)
    }
}

/// The stamp of the application, and what an open does with a database that has another one.
///
/// A database without a stamp gets that of the application, and keeps its shapes: begin with a stamp before
/// the first change of definitions.
///
/// ```
/// use shape_meta_core::{InvalidShape, OnOtherStamp, Record, Rekey, Shape, Stamp, StampCheck};
///
/// // Version 2 of the application knows the primary key, which is a part of the key of a shape.
/// let rekey = Rekey::new(|found: &Stamp, record: &Record| {
///     let shape: Shape = record.decode()?;
///     Ok::<_, InvalidShape>((found.version() == 1).then(|| shape.pk(["id"])))
/// });
/// let check = StampCheck::new(Stamp::new(2, "main"))
///     .on_other_version(OnOtherStamp::Rekey(rekey))
///     .on_other_source(OnOtherStamp::RemoveAll);
/// // Pass it to the options of the database: `SqliteOptions::default().stamp(check)`.
/// ```
#[derive(Clone, Debug)]
pub struct StampCheck {
    stamp: Stamp,
    on_other_version: OnOtherStamp,
    on_other_source: OnOtherStamp,
}

impl StampCheck {
    /// Returns the check that refuses every other stamp.
    pub fn new(stamp: Stamp) -> Self {
        Self { stamp, on_other_version: OnOtherStamp::Refuse, on_other_source: OnOtherStamp::Refuse }
    }

    /// Sets what happens if the version differs. Default [`OnOtherStamp::Refuse`].
    pub fn on_other_version(mut self, reaction: OnOtherStamp) -> Self {
        self.on_other_version = reaction;
        self
    }

    /// Sets what happens if the source differs. Default [`OnOtherStamp::Refuse`].
    pub fn on_other_source(mut self, reaction: OnOtherStamp) -> Self {
        self.on_other_source = reaction;
        self
    }

    /// Returns the stamp of the application.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Returns what an open does with a database that has this stamp; `None` if it is the same. If version
    /// and source both differ, the stricter reaction of the two: refuse, remove all, re-key, keep.
    pub fn reaction(&self, found: &Stamp) -> Option<&OnOtherStamp> {
        let version = (self.stamp.version != found.version).then_some(&self.on_other_version);
        let source = (self.stamp.source != found.source).then_some(&self.on_other_source);
        version.into_iter().chain(source).max_by_key(|reaction| reaction.strictness())
    }

    /// Returns the refusal of a database with this stamp.
    pub fn refusal(&self, found: &Stamp) -> Error {
        let message = format!(
            "the shapes of the database have {found}, and the application has {}; no shape was changed. Open it with \
             the application that made them, or choose to keep, remove or re-key them",
            self.stamp
        );
        Error::new(ErrorKind::OtherStamp, message)
    }
}

/// What an open does with the shapes of a database that has another stamp.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OnOtherStamp {
    /// All shapes stay as they are, and the database gets the stamp of the application.
    Keep,
    /// The open fails with [`ErrorKind::OtherStamp`], and no shape is changed.
    Refuse,
    /// All shapes are removed, and their stored data is handed to the cleaner (C12).
    RemoveAll,
    /// Each definition is decoded and encoded again by the application.
    Rekey(Rekey),
}

impl OnOtherStamp {
    fn strictness(&self) -> u8 {
        match self {
            Self::Keep => 0,
            Self::Rekey(_) => 1,
            Self::RemoveAll => 2,
            Self::Refuse => 3,
        }
    }
}

type RekeyFn = dyn Fn(&Stamp, &Record) -> Result<Option<NewShape>> + Send + Sync;

/// The application's function that turns a definition of another stamp into one of its own.
#[derive(Clone)]
pub struct Rekey(Arc<RekeyFn>);

impl Rekey {
    /// Returns the re-key with this function. It gets the stamp of the database and a shape, decodes
    /// [`Record::definition`] as definitions with that stamp are encoded, and returns the definition of now,
    /// or `None` to remove the shape. Key, hash, relations, dependencies and the index flag are computed from
    /// what it returns; the handle, the time of creation, the snapshot state and the last-read time stay.
    ///
    /// It is called on the thread of the open, for one shape after the other, and may be called again for the
    /// same shape, if an open is interrupted.
    pub fn new<D: Definition, E: Into<Box<dyn error::Error + Send + Sync>>>(
        rekey: impl Fn(&Stamp, &Record) -> Result<Option<D>, E> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |found, record| match rekey(found, record) {
            Ok(definition) => Ok(definition.map(|one| NewShape::of(record.handle().clone(), &one))),
            Err(error) => {
                let message = format!(
                    "the application could not re-key the definition of shape {:?}, which is as it was; the next open \
                     with this re-key tries it again",
                    record.handle().as_str()
                );
                Err(Error::new(ErrorKind::OtherStamp, message).with_source(error))
            }
        }))
    }

    /// Returns the shape as it is now; `None` if it is to be removed.
    ///
    /// # Errors
    ///
    /// If the function of the application fails.
    pub fn apply(&self, found: &Stamp, record: &Record) -> Result<Option<NewShape>> {
        (self.0)(found, record)
    }
}

impl fmt::Debug for Rekey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rekey")
    }
}

/// What an open has done about the stamp of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StampOutcome {
    /// The application has no stamp, or the database has the same one.
    Unchanged,
    /// The database had none.
    Recorded,
    /// All shapes were kept.
    Kept {
        /// The stamp before.
        found: Stamp,
    },
    /// All shapes were removed.
    RemovedAll {
        /// The stamp before.
        found: Stamp,
        /// The number of shapes.
        removed: u64,
    },
    /// The shapes were re-keyed.
    Rekeyed {
        /// The stamp before.
        found: Stamp,
        /// The number of shapes that have a new definition. If an earlier open was interrupted, those of this
        /// open.
        rekeyed: u64,
        /// The number of shapes that the application removed.
        dropped: u64,
        /// The number of shapes that were removed because an older one has the same key now.
        merged: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_of_two_reactions_counts() {
        let check = StampCheck::new(Stamp::of_postgres(2, 7, 1, "app"))
            .on_other_version(OnOtherStamp::Keep)
            .on_other_source(OnOtherStamp::RemoveAll);
        let reaction = |version, source: &str| {
            check.reaction(&Stamp::new(version, source)).map(OnOtherStamp::strictness)
        };
        assert_eq!(reaction(2, "7/1/app"), None);
        assert_eq!(reaction(1, "7/1/app"), Some(0));
        assert_eq!(reaction(2, "7/2/app"), Some(2));
        assert_eq!(reaction(1, "7/2/app"), Some(2));
        let refuses = StampCheck::new(Stamp::new(1, ""));
        assert!(matches!(refuses.reaction(&Stamp::new(2, "")), Some(OnOtherStamp::Refuse)));
        let refusal = refuses.refusal(&Stamp::new(2, "x"));
        assert_eq!(refusal.kind(), ErrorKind::OtherStamp);
        assert!(refusal.to_string().contains("version 2 of source \"x\""), "{refusal}");
    }
}
