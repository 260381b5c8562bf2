//! Configuration: flags over environment over files over defaults; what nobody knows is an error with its place.

mod load;
mod sections;

pub use load::{ConfigError, Setting, SettingError, Sources, environment, load};
pub use sections::{Database, Listener, LogFormat, Login, Postgres, Telemetry, Tls};
