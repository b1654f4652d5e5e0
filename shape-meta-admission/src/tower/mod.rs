mod future;
mod held;
mod layer;
mod response;
mod service;

pub use future::AdmissionFuture;
pub use held::RequestPermit;
pub use layer::AdmissionLayer;
pub use response::Admitted;
pub use service::AdmissionService;
