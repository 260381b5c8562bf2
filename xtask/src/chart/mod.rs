//! The Helm chart: the tools that install, render and check it, and its copy of the resource definitions.

mod definitions;
mod programs;
mod schemas;

pub(crate) use definitions::sync;
pub(crate) use programs::{Arguments, helm, kubeconform};
