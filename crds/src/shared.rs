//! Parts that several kinds have.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// A Secret in the resource's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::subdomain("secretRef.name"))]
    pub name: String,
}

/// One entry of a Secret in the resource's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySelector {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::subdomain("secretRef.name"))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::secret_key("secretRef.key"))]
    pub key: String,
}

/// An object in a namespace, in a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
}

/// Labels that an object must have; an empty selector takes every object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Label and value; all must fit.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = rules::labels("matchLabels"))]
    pub match_labels: BTreeMap<String, BoundedText>,
}

/// A text of at most 63 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BoundedText(#[schemars(length(max = 63))] pub String);

/// Requests and limits of a container, as Kubernetes writes quantities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::requests_within_limits())]
pub struct Resources {
    /// What is reserved: `cpu`, `memory`, `ephemeral-storage`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 3))]
    #[x_kube(validation = rules::amounts("resources.requests"))]
    pub requests: BTreeMap<String, BoundedText>,
    /// What it may not exceed: `cpu`, `memory`, `ephemeral-storage`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 3))]
    #[x_kube(validation = rules::amounts("resources.limits"))]
    pub limits: BTreeMap<String, BoundedText>,
}
