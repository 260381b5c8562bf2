//! What a key is and what it may do: pure.

pub(crate) mod algorithm;
pub(crate) mod key;
