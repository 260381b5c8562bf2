//! Holding the catalog against what spaces shall have: one query for any number of them, then plain decisions.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{Server, Transaction};
use crate::drift::{Drift, DriftKind};
use crate::{Space, StoreError};

/// A row a space. `set_option` is of PostgreSQL 16; before, each member could take the role. The members of a role are counted,
/// so that they are looked up by the catalog's index (of EXISTS PostgreSQL makes one reading of all), and so are a schema's
/// tables, by what depends on the schema: a space costs the same however many there are.
const FACTS: &str = "\
WITH wanted AS (SELECT w.space, w.own, w.usr, w.login, n.oid AS n, n.nspowner, o.oid AS o, u.oid AS u, l.oid AS l, \
    COALESCE(o.rolcanlogin OR o.rolinherit OR o.rolcreaterole OR o.rolcreatedb, false) AS own_more, \
    COALESCE(u.rolcanlogin OR u.rolinherit OR u.rolcreaterole OR u.rolcreatedb, false) AS usr_more \
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w (space, own, usr, login) \
    LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.space \
    LEFT JOIN pg_catalog.pg_roles o ON o.rolname = w.own \
    LEFT JOIN pg_catalog.pg_roles u ON u.rolname = w.usr \
    LEFT JOIN pg_catalog.pg_roles l ON l.rolname = w.login), \
lacking AS (SELECT w.n FROM wanted w JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_namespace'::regclass \
    AND d.refobjid = w.n AND d.classid = 'pg_class'::regclass JOIN pg_catalog.pg_class c ON c.oid = d.objid \
    WHERE c.relkind IN ('r', 'p') AND w.u IS NOT NULL AND NOT (has_table_privilege(w.u, c.oid, 'SELECT') \
    AND has_table_privilege(w.u, c.oid, 'INSERT') AND has_table_privilege(w.u, c.oid, 'UPDATE') \
    AND has_table_privilege(w.u, c.oid, 'DELETE')) GROUP BY 1) \
SELECT w.space, w.own, w.usr, w.login, w.n IS NOT NULL AS schema_there, \
    COALESCE(obj_description(w.n, 'pg_namespace'), '') AS schema_comment, COALESCE(w.nspowner = w.o, false) AS owned, \
    w.o IS NOT NULL AS own_there, COALESCE(shobj_description(w.o, 'pg_authid'), '') AS own_comment, \
    w.u IS NOT NULL AS usr_there, COALESCE(shobj_description(w.u, 'pg_authid'), '') AS usr_comment, \
    w.own_more, w.usr_more, w.l IS NOT NULL AS login_there, \
    (SELECT count(DISTINCT m.member) FROM pg_catalog.pg_auth_members m WHERE m.roleid = w.o AND m.member IN (w.l, me.oid) \
        AND COALESCE((to_jsonb(m) ->> 'set_option')::boolean, true)) = 2 AS own_members, \
    (SELECT count(DISTINCT m.member) FROM pg_catalog.pg_auth_members m WHERE m.roleid = w.u AND m.member IN (w.l, me.oid) \
        AND COALESCE((to_jsonb(m) ->> 'set_option')::boolean, true)) = 2 AS usr_members, \
    COALESCE(has_schema_privilege(w.u, w.n, 'USAGE'), false) AS usage, \
    w.n IN (SELECT lacking.n FROM lacking) AS tables_lack, \
    (SELECT count(DISTINCT a.privilege_type) FROM pg_catalog.pg_default_acl d, aclexplode(d.defaclacl) a \
        WHERE d.defaclrole = w.o AND d.defaclnamespace = w.n AND d.defaclobjtype = 'r' AND a.grantee = w.u \
        AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')) = 4 AS defaults \
FROM wanted w, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user) me";

/// What the catalog says of a space.
pub(super) struct Facts {
    pub(super) schema_there: bool,
    schema_comment: String,
    owned: bool,
    own: Role,
    /// None where the product's login itself has the rights.
    usr: Option<Role>,
    login: String,
    pub(super) login_there: bool,
    usage: bool,
    tables_lack: bool,
    defaults: bool,
}

/// What the catalog says of a role.
struct Role {
    name: String,
    there: bool,
    comment: String,
    /// It has attributes that it should not have.
    more: bool,
    members: bool,
}

impl Server {
    /// What is different in these spaces.
    pub(crate) async fn drift(&self, tx: &mut Transaction, spaces: &[Space]) -> Result<Vec<Drift>, StoreError> {
        let marker = &self.roles()?.marker;
        let facts = self.facts(tx, spaces).await?;
        let of = |space: &Space| facts.get(&space.to_string()).map(|facts| facts.drift(*space, marker));
        Ok(spaces.iter().filter_map(of).flatten().collect())
    }

    pub(super) async fn facts(
        &self,
        tx: &mut Transaction,
        spaces: &[Space],
    ) -> Result<HashMap<String, Facts>, StoreError> {
        let roles = self.roles()?;
        let (mut names, mut owners, mut users, mut logins) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for space in spaces {
            let Some(product) = space.product() else { continue };
            let login = self.login(product)?;
            names.push(space.to_string());
            owners.push(roles.owner(*space));
            users.push(if let Space::Tenant(..) = space { roles.user(*space) } else { login.clone() });
            logins.push(login);
        }
        let failed = |error: &sqlx::Error| StoreError::from_sqlx(Space::Control, "reading the catalog", error);
        let rows = sqlx::query(FACTS).bind(names).bind(owners).bind(users).bind(logins);
        let rows = rows.fetch_all(tx.connection()).await.map_err(|error| failed(&error))?;
        rows.iter().map(|row| Facts::read(row).map_err(|error| failed(&error))).collect()
    }
}

impl Facts {
    fn read(row: &PgRow) -> Result<(String, Self), sqlx::Error> {
        let (usr, login): (String, String) = (row.try_get("usr")?, row.try_get("login")?);
        let role = |name: String, [there, comment, more, members]: [&str; 4]| {
            Ok::<_, sqlx::Error>(Role {
                name,
                there: row.try_get(there)?,
                comment: row.try_get(comment)?,
                more: row.try_get(more)?,
                members: row.try_get(members)?,
            })
        };
        let own = role(row.try_get("own")?, ["own_there", "own_comment", "own_more", "own_members"])?;
        let usr =
            if usr == login { None } else { Some(role(usr, ["usr_there", "usr_comment", "usr_more", "usr_members"])?) };
        let facts = Self {
            schema_there: row.try_get("schema_there")?,
            schema_comment: row.try_get("schema_comment")?,
            owned: row.try_get("owned")?,
            own,
            usr,
            login,
            login_there: row.try_get("login_there")?,
            usage: row.try_get("usage")?,
            tables_lack: row.try_get::<Option<bool>, _>("tables_lack")?.unwrap_or_default(),
            defaults: row.try_get("defaults")?,
        };
        Ok((row.try_get("space")?, facts))
    }

    fn drift(&self, space: Space, marker: &str) -> Vec<Drift> {
        let mut found = Vec::new();
        let mut add = |kind: DriftKind, object: &str| found.push(Drift { space, kind, object: object.to_owned() });
        let schema = space.to_string();
        let marked = self.schema_comment == marker;
        // One of schema and owner may have lost its mark: the other one tells whose it is.
        match (self.schema_there, self.schema_comment.as_str()) {
            (false, _) => add(DriftKind::SchemaMissing, &schema),
            (true, comment) if comment == marker && self.owned => {}
            (true, comment) if comment == marker => add(DriftKind::SchemaOwner, &schema),
            (true, "") if self.owned && self.own.comment == marker => add(DriftKind::SchemaUnmarked, &schema),
            (true, _) => add(DriftKind::SchemaForeign, &schema),
        }
        let of_schema = [(&self.own, self.owned), (self.usr.as_ref().unwrap_or(&self.own), self.usage)];
        let count = if self.usr.is_some() { 2 } else { 1 };
        for (role, bound) in of_schema.into_iter().take(count) {
            match (role.there, role.comment.as_str()) {
                (false, _) => {
                    add(DriftKind::RoleMissing, &role.name);
                    continue;
                }
                (true, comment) if comment == marker => {}
                (true, "") if marked && bound => add(DriftKind::RoleUnmarked, &role.name),
                (true, _) => {
                    add(DriftKind::RoleForeign, &role.name);
                    continue;
                }
            }
            if role.more {
                add(DriftKind::RoleAttributes, &role.name);
            }
            if !role.members {
                add(DriftKind::Membership, &role.name);
            }
        }
        if !self.login_there {
            add(DriftKind::LoginMissing, &self.login);
        }
        if self.schema_there {
            let user = self.usr.as_ref().map_or(&self.login, |role| &role.name);
            for (there, kind) in [
                (self.usage, DriftKind::SchemaGrant),
                (!self.tables_lack, DriftKind::TableGrant),
                (self.defaults, DriftKind::DefaultPrivileges),
            ] {
                if !there {
                    add(kind, user);
                }
            }
        }
        found
    }
}
