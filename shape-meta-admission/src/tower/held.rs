use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Kind, Permit, Rejected};

/// The permit of a request, for its handler. It is in the extensions of every request that an
/// [`AdmissionService`](crate::AdmissionService) has admitted, and can move the request to another kind.
///
/// It does not keep the permit alive: the permit is released when the response has ended, regardless of
/// clones.
///
/// ```
/// use http::Request;
/// use shape_meta_admission::{Kind, RequestPermit};
///
/// # struct Engine;
/// # impl Engine { fn find_or_create<B>(&self, _: &Request<B>) {} }
/// fn serve<B>(engine: &Engine, request: Request<B>) {
///     engine.find_or_create(&request); // the expensive part
///     if let Some(permit) = request.extensions().get::<RequestPermit>() {
///         // The shape exists now. At the limit of `Existing`, the request keeps its kind.
///         let _ = permit.switch_to(Kind::Existing);
///     }
///     // Stream the shape here.
/// }
/// ```
#[derive(Clone)]
pub struct RequestPermit(Arc<Mutex<Option<Permit>>>);

impl RequestPermit {
    /// Returns the kind as which the request is counted; `None` if it has ended.
    pub fn kind(&self) -> Option<Kind> {
        self.lock().as_ref().map(Permit::kind)
    }

    /// Moves the request to another kind; see [`Permit::switch_to`]. Does nothing if it has ended.
    ///
    /// # Errors
    ///
    /// If the limit of that kind is reached. The permit keeps its kind then.
    pub fn switch_to(&self, kind: Kind) -> Result<(), Rejected> {
        self.lock().as_mut().map_or(Ok(()), |permit| permit.switch_to(kind))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Permit>> {
        // Only a `DrainRate` can panic under this lock, and the permit is then not moved and still valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RequestPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestPermit").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// The owner of the permit of a request: dropping it releases the permit.
pub(super) struct Held(RequestPermit);

impl Held {
    pub(super) fn new(permit: Permit) -> Self {
        Self(RequestPermit(Arc::new(Mutex::new(Some(permit)))))
    }

    pub(super) fn shared(&self) -> &RequestPermit {
        &self.0
    }

    pub(super) fn into_permit(self) -> Option<Permit> {
        self.0.lock().take()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.lock().take());
    }
}
