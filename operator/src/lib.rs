//! The operator: makes what Realms, Tenants and DemoEnvironments ask for, and keeps it so.
//!
//! Each kind has a folder with the same files: `observe` (what is there, from watches and the realm's database), `plan` (a pure
//! function from what is wanted, what is there and the time to steps and a report), `apply` (carries the steps out, one after
//! the other), `status` (the report as conditions and fields). What every kind needs stands beside them.

pub mod applied;
pub mod check;
pub mod child;
pub mod children;
pub mod config;
pub mod context;
pub mod controller;
pub mod databases;
pub mod definitions;
pub mod demo_environment;
mod document;
pub mod duration;
pub mod error;
pub mod events;
pub mod executor;
pub mod failpoint;
pub mod health;
pub mod journal;
pub mod lease;
pub mod metrics;
pub mod realm;
pub mod report;
pub mod rights;
pub mod run;
pub mod stores;
pub mod tenant;
pub mod wake;
pub mod watch;
