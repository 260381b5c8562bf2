//! Taking what an earlier Realm of this name left.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::child::{ChildRef, Seen};
use crate::context::Context;
use crate::error::ApiError;
use crate::executor::CALL;
use crate::wake::OwnerKind;

impl Context {
    /// Marks a Secret that no Realm owns any more as this one's; its content stays. Nobody may have changed it since it was
    /// seen.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn adopt_secret(&self, at: &ChildRef, seen: &Seen, uid: &str) -> Result<(), ApiError> {
        let verb = "adopt";
        self.leadership.check().map_err(|_| ApiError::NotLeading { verb, at: at.to_string() })?;
        let patch = json!({"metadata": {
            "uid": seen.uid, "resourceVersion": seen.resource_version, "annotations": {crds::OWNER_UID: uid},
        }});
        let parameters =
            PatchParams { field_manager: Some(OwnerKind::Realm.manager().to_owned()), ..PatchParams::default() };
        let api = Api::<Secret>::namespaced(self.client.clone(), &at.namespace);
        let patch = Patch::Merge(&patch);
        let patched = api.patch_metadata(&at.name, &parameters, &patch);
        match tokio::time::timeout(CALL, patched).await {
            Ok(Ok(new)) => {
                self.stores.wrote_child(at, &new.metadata);
                Ok(())
            }
            Ok(Err(error)) => Err(ApiError::of(verb, at, &error)),
            Err(_) => Err(ApiError::Timeout { verb, at: at.to_string(), seconds: CALL.as_secs() }),
        }
    }
}
