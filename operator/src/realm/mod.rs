//! Realms: certificates, database, keys and the two servers.

pub mod deletion;
pub mod facts;
mod memory;
pub mod plan;
pub mod ready;
pub mod wanted;

pub use memory::Memory;

#[cfg(test)]
mod tests;
