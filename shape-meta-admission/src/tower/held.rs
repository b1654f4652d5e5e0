use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Kind, Permit, Rejected};

/// The permit of a request, for whoever handles it: it is in the extensions of every request that an
/// [`AdmissionService`](crate::AdmissionService) has admitted, and moves it to another kind.
///
/// It does not keep the place: that is free when the response has ended, however many clones are left.
///
/// ```
/// use http::Request;
/// use shape_meta_admission::{Kind, RequestPermit};
///
/// # struct Engine;
/// # impl Engine { fn find_or_make<B>(&self, _: &Request<B>) {} }
/// fn serve<B>(engine: &Engine, request: Request<B>) {
///     engine.find_or_make(&request); // what makes it expensive
///     if let Some(permit) = request.extensions().get::<RequestPermit>() {
///         // The shape is there now. Where too many read already, it goes on counting as what it was.
///         let _ = permit.switch_to(Kind::Existing);
///     }
///     // .. and streams.
/// }
/// ```
#[derive(Clone)]
pub struct RequestPermit(Arc<Mutex<Option<Permit>>>);

impl RequestPermit {
    /// What the request counts as; `None` if it is over.
    pub fn kind(&self) -> Option<Kind> {
        self.lock().as_ref().map(Permit::kind)
    }

    /// Lets the request count as another kind from now on; see [`Permit::switch_to`]. Nothing happens if it is over.
    ///
    /// # Errors
    ///
    /// If the limit of that kind is met. The permit is what it was then.
    pub fn switch_to(&self, kind: Kind) -> Result<(), Rejected> {
        self.lock().as_mut().map_or(Ok(()), |permit| permit.switch_to(kind))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Permit>> {
        // A panic under it was that of a `DrainRate`, and a permit that was not moved is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RequestPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestPermit").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// What keeps the place of a request: dropping this frees it.
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
