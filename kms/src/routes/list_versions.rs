//! `GET /api/v1/keys/{key_id}/versions`.

use axum::Json;
use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_http::extract::PathId;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use crate::error::KmsError;

/// The versions of a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionList {
    /// The newest first.
    items: Vec<VersionView>,
    total: usize,
}

/// A version without its material.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionView {
    /// UUIDv7; the `kid` of what it encrypted or signed.
    #[schema(format = Uuid)]
    version_id: String,
    /// Counts from 1.
    version: u32,
    /// RFC 3339.
    created_at: String,
}

/// Lists the versions of a key, the newest first.
#[utoipa::path(
    get, path = "/api/v1/keys/{key_id}/versions", tag = "keys", params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The versions", body = VersionList),
        (status = 404, description = "There is no such key in this tenant"),
    )
)]
pub(crate) async fn list_versions(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
) -> Result<Json<VersionList>, KmsError> {
    let (_, versions, _) = app.service.versions(caller.tenant, id).await?;
    let items: Vec<VersionView> = versions
        .into_iter()
        .map(|version| VersionView {
            version_id: version.id.to_string(),
            version: version.version,
            created_at: version.created_at.to_string(),
        })
        .collect();
    Ok(Json(VersionList { total: items.len(), items }))
}
