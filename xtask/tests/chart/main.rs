//! The Helm chart, by the helm and the kubeconform that `cargo xtask helm` and `cargo xtask kubeconform` build. By hand:
//! `cargo test -p xtask --features clusters --test chart`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod chart;
mod definitions;
mod operator;
mod render;
mod rights;
mod values;
