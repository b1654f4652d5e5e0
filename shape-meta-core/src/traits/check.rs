use crate::{Handle, Key, ReadShapes, Result, SnapshotState, Timestamp};

/// How the handle of a request relates to the definition of the request; the result of
/// [`check`](crate::ReadShapesExt::check).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The handle is live, and is that of the definition. Its snapshot has this state.
    Live(SnapshotState),
    /// The handle is live, and is that of another definition. The handle of the live shape with the
    /// definition, if there is one.
    OtherDefinition(Option<Handle>),
    /// The handle is not live. The handle of the live shape with the definition, if there is one.
    Unknown(Option<Handle>),
}

impl Check {
    /// Returns the snapshot state, if the handle is live and that of the definition.
    pub fn live(&self) -> Option<SnapshotState> {
        match self {
            Self::Live(state) => Some(*state),
            Self::OtherDefinition(_) | Self::Unknown(_) => None,
        }
    }

    /// Returns the handle to redirect to: that of the live shape with the definition, if the request has
    /// another one.
    pub fn redirect(self) -> Option<Handle> {
        match self {
            Self::Live(_) => None,
            Self::OtherDefinition(current) | Self::Unknown(current) => current,
        }
    }
}

/// Checks a handle against the key of a definition. Touches the shape at `at`, if it is live. What
/// [`check`](crate::ReadShapesExt::check) does, for implementors of a form of it.
///
/// # Errors
///
/// If the store below has to be read, and that fails.
pub fn check_key<S: ReadShapes + ?Sized>(
    store: &S,
    handle: &str,
    key: &Key,
    at: Option<Timestamp>,
) -> Result<Check> {
    let hash = key.definition_hash();
    // Again if the definition has got this handle since the first look. Once, since it may be the shape that
    // is being removed because it was not read.
    for _ in 0..2 {
        let live = store.metadata(handle)?;
        let is_other = match live {
            Some(live) if live.hash != hash => true,
            Some(live) if at.map_or(Ok(true), |at| store.touch(handle, at))? => {
                return Ok(Check::Live(live.state));
            }
            _ => false,
        };
        match store.handle_for(key)? {
            Some(current) if current == *handle => {}
            current if is_other => return Ok(Check::OtherDefinition(current)),
            current => return Ok(Check::Unknown(current)),
        }
    }
    Ok(Check::Unknown(None))
}
