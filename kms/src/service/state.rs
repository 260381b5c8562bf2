//! Changing keys: name, description, state, owner.

use keyrealm_base::{KeyId, TenantId};
use keyrealm_registry::ManagedBy;

use super::KeyService;
use super::create::taken;
use crate::domain::key::{Key, KeyState, Operation, check_description, check_name};
use crate::error::KmsError;

/// What to change; `None` leaves it.
#[derive(Default)]
pub(crate) struct KeyPatch {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
}

impl KeyService {
    /// Changes name and description. `by` must be the owner.
    pub(crate) async fn update(
        &self,
        tenant: TenantId,
        id: KeyId,
        patch: KeyPatch,
        by: ManagedBy,
    ) -> Result<Key, KmsError> {
        if let Some(name) = &patch.name {
            check_name(name).map_err(|reason| KmsError::Field { field: "name", reason })?;
        }
        if let Some(description) = &patch.description {
            check_description(description).map_err(|reason| KmsError::Field { field: "description", reason })?;
        }
        self.edit(tenant, id, Operation::Update, by, |key| Key {
            name: patch.name.unwrap_or(key.name),
            description: patch.description.unwrap_or(key.description),
            ..key
        })
        .await
    }

    /// Gives a key to its resource, or to those who use the API.
    pub(crate) async fn give_to(&self, tenant: TenantId, id: KeyId, owner: ManagedBy) -> Result<Key, KmsError> {
        let give = |key| Key { managed_by: owner, ..key };
        self.edit(tenant, id, Operation::Update, ManagedBy::Resource, give).await
    }

    /// Gives a key whose entry was taken away to those who use the API, in this state.
    pub(crate) async fn release(&self, tenant: TenantId, id: KeyId, state: KeyState) -> Result<Key, KmsError> {
        let give = |key| Key { managed_by: ManagedBy::Api, state, ..key };
        self.edit(tenant, id, Operation::Update, ManagedBy::Resource, give).await
    }

    /// Disables or enables.
    pub(crate) async fn set_state(
        &self,
        tenant: TenantId,
        id: KeyId,
        state: KeyState,
        by: ManagedBy,
    ) -> Result<Key, KmsError> {
        let operation = match state {
            KeyState::Active => Operation::Enable,
            KeyState::Disabled => Operation::Disable,
        };
        self.edit(tenant, id, operation, by, |key| Key { state, ..key }).await
    }

    async fn edit(
        &self,
        tenant: TenantId,
        id: KeyId,
        operation: Operation,
        by: ManagedBy,
        edit: impl FnOnce(Key) -> Key + Send,
    ) -> Result<Key, KmsError> {
        let mut change = self.change(tenant).await?;
        let stored = change.key(id).await?;
        if stored.key.managed_by == ManagedBy::Resource && by == ManagedBy::Api {
            return Err(KmsError::Managed);
        }
        if !stored.key.state.allows(operation) {
            return Err(KmsError::State(stored.key.state));
        }
        let edited = Key { updated_at: self.clock.now(), ..edit(stored.key.clone()) };
        let key = change.put_key(Some(&stored), edited).await.map_err(taken)?;
        self.commit(tenant, change).await?;
        Ok(key)
    }
}
