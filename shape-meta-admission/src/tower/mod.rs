mod future;
mod held;
mod layer;
mod rejection;
mod response;
mod service;

pub use future::AdmissionFuture;
pub use held::RequestPermit;
pub use layer::AdmissionLayer;
pub use rejection::{JsonRejection, RejectionResponse};
pub use response::Admitted;
pub use service::AdmissionService;
