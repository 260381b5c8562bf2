//! Ids, clock, randomness and the one enum of problem codes. Pure: no I/O beyond reading the system clock.

mod clock;
mod id;
mod problem;
mod random;
mod timestamp;

pub use clock::{Clock, SharedClock, SystemClock};
pub use id::{DeploymentId, IdError, InstanceId, KeyId, ObjectId, RequestId, TenantId, VersionId, new_uuid_v7};
pub use problem::ProblemCode;
pub use random::{Random, SharedRandom};
pub use timestamp::{Timestamp, TimestampError};
