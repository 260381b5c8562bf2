//! Making one client or user as its entry says.

use keyrealm_base::{ObjectId, TenantId};
use keyrealm_registry::specs::{ClientSpec, UserSpec};
use keyrealm_registry::{DesiredEntry, desired};
use keyrealm_store::{Product, StoreError, TenantAccess, TenantTx};

use super::Reconciler;
use crate::domain::client::ClientRules;
use crate::domain::user::UserRules;
use crate::storage::{clients, users};

/// Why an object is not as declared.
pub(super) struct Failure {
    /// A word for programs.
    pub(super) reason: &'static str,
    /// A sentence for people.
    pub(super) message: String,
}

pub(super) fn failure(reason: &'static str, message: impl Into<String>) -> Failure {
    Failure { reason, message: message.into() }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        failure("DatabaseFailed", error.to_string())
    }
}

impl Reconciler {
    /// Makes what the entry declares; the answer is the object's id.
    pub(super) async fn make(&self, entry: &DesiredEntry) -> Result<ObjectId, Failure> {
        match entry.kind.as_str() {
            "client" => self.client(entry).await,
            "user" => self.user(entry).await,
            other => {
                let message = format!("identity makes objects of kind `client` and `user`, not `{other}`");
                Err(failure("UnknownKind", message))
            }
        }
    }

    /// The object of an entry, as far as it can be told.
    pub(super) async fn existing(&self, entry: &DesiredEntry) -> Option<String> {
        let tx = self.database.tenant(Product::Identity, entry.tenant, TenantAccess::Read);
        let found = async {
            let mut tx = tx.await?;
            Ok::<_, StoreError>(match entry.kind.as_str() {
                "client" => clients::by_name(&mut tx, &entry.name).await?.map(|stored| stored.id),
                "user" => users::by_name(&mut tx, &entry.name).await?.map(|user| user.id),
                _ => None,
            })
        };
        found.await.ok().flatten().map(|id| id.to_string())
    }

    async fn client(&self, entry: &DesiredEntry) -> Result<ObjectId, Failure> {
        let spec: ClientSpec = serde_json::from_value(entry.spec.clone())
            .map_err(|error| failure("InvalidSpecification", error.to_string()))?;
        spec.check().map_err(|error| failure("InvalidSpecification", error))?;
        let mut tx = self.database.tenant(Product::Identity, entry.tenant, TenantAccess::Read).await?;
        let before = clients::by_name(&mut tx, &entry.name).await?;
        let holder = clients::holder(&mut tx, &spec.client_id).await?;
        drop(tx);
        if let Some(other) = holder.filter(|holder| *holder != entry.name)
            && !self.gives_way(entry.tenant, &other, &spec.client_id).await?
        {
            let message = format!("client_id `{}` is that of the entry `{other}`", spec.client_id);
            return Err(failure("ClientIdTaken", message));
        }
        // What reserves and what refuses commits before the tenant's own transaction.
        let mut realm = self.database.realm(Product::Identity).await?;
        let owner = clients::reserve(&mut realm, &spec.client_id, entry.tenant).await?;
        realm.commit().await?;
        if owner != entry.tenant {
            let message =
                format!("client_id `{}` belongs to another tenant; client ids are unique in a realm", spec.client_id);
            return Err(failure("ClientIdTaken", message));
        }
        // A run that ended before it gave the former id back left it here.
        let left = before.as_ref().and_then(|stored| stored.former.clone()).filter(|id| *id != spec.client_id);
        if let Some(left) = left {
            self.give_back(entry.tenant, &left).await?;
        }
        let former = before.as_ref().map(|stored| &stored.spec.client_id).filter(|id| **id != spec.client_id);
        let ended: Vec<(&String, bool)> = former
            .map(|id| (id, true))
            .into_iter()
            .chain((before.is_some() && !spec.enabled).then_some((&spec.client_id, false)))
            .collect();
        for (id, _) in &ended {
            self.revoker.refuse_client(id).await?;
        }
        let mut tx = self.begin(entry.tenant).await?;
        let id = clients::put(&mut tx, &entry.name, self.id(), &spec, former.map(String::as_str)).await?;
        for (id, gone) in ended {
            self.revoker.client_rows(&mut tx, id, gone).await?;
        }
        tx.commit().await?;
        if let Some(former) = former {
            self.give_back(entry.tenant, former).await?;
            let mut tx = self.database.tenant(Product::Identity, entry.tenant, TenantAccess::Plain).await?;
            clients::forget_former(&mut tx, &entry.name).await?;
            tx.commit().await?;
        }
        Ok(id)
    }

    /// Whether a client that has this id is declared with another one by now: then it gives the id up at once and gets its own
    /// by its own entry. Otherwise two that exchange theirs would wait for each other for ever.
    async fn gives_way(&self, tenant: TenantId, holder: &str, client_id: &str) -> Result<bool, Failure> {
        let entries = desired::of_tenant(&mut self.database.control_read().await?, tenant).await?;
        let moves = entries.iter().any(|entry| {
            let id = entry.spec.get("client_id").and_then(serde_json::Value::as_str);
            (entry.kind.as_str(), entry.name.as_str()) == ("client", holder)
                && entry.deleted_at.is_none()
                && id.is_some_and(|id| id != client_id)
        });
        if moves {
            self.revoker.refuse_client(client_id).await?;
            let mut tx = self.begin(tenant).await?;
            if let Some(mut stored) = clients::by_name(&mut tx, holder).await?
                && stored.spec.client_id == client_id
            {
                // Nobody finds it by this one: it is not among the realm's ids.
                stored.spec.client_id = format!("moves.{}", stored.id);
                clients::put(&mut tx, holder, stored.id, &stored.spec, stored.former.as_deref()).await?;
                self.revoker.client_rows(&mut tx, client_id, true).await?;
                tx.commit().await?;
            }
        }
        Ok(moves)
    }

    /// Gives a former id back, unless another client of the tenant has it by now.
    async fn give_back(&self, tenant: TenantId, client_id: &str) -> Result<(), StoreError> {
        let mut tx = self.database.tenant(Product::Identity, tenant, TenantAccess::Read).await?;
        let holder = clients::holder(&mut tx, client_id).await?;
        drop(tx);
        if holder.is_none() { self.release(tenant, client_id).await } else { Ok(()) }
    }

    pub(super) async fn release(&self, tenant: TenantId, client_id: &str) -> Result<(), StoreError> {
        let mut realm = self.database.realm(Product::Identity).await?;
        clients::release(&mut realm, client_id, tenant).await?;
        realm.commit().await
    }

    async fn user(&self, entry: &DesiredEntry) -> Result<ObjectId, Failure> {
        let spec: UserSpec = serde_json::from_value(entry.spec.clone())
            .map_err(|error| failure("InvalidSpecification", error.to_string()))?;
        spec.check(&entry.name).map_err(|error| failure("InvalidSpecification", error))?;
        let mut tx = self.begin(entry.tenant).await?;
        let before = users::by_name(&mut tx, &entry.name).await?;
        let id = users::put(&mut tx, self.id(), &entry.name, &spec).await?;
        // Who is shut out, or whose password somebody else may know, has no session and no token left.
        if !spec.enabled || before.is_some_and(|user| user.spec.password_hash != spec.password_hash) {
            self.revoker.user(&mut tx, id).await?;
        }
        tx.commit().await?;
        Ok(id)
    }

    pub(super) async fn begin(&self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        self.database.tenant(Product::Identity, tenant, TenantAccess::Change).await
    }

    fn id(&self) -> ObjectId {
        ObjectId::new(self.clock.as_ref(), self.random.as_ref())
    }
}
