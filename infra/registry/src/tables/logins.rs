//! `logins`: of each product's login, the hash of the password that it was last given. The passwords are random, so that
//! their hashes tell nothing.

use keyrealm_store::{ControlTx, Product, Sql, StoreError};

/// The hash, hex, once a password was given.
pub(crate) async fn password_sha256(tx: &mut ControlTx, product: Product) -> Result<Option<String>, StoreError> {
    let sql = Sql::new("SELECT password_sha256 FROM {s}logins WHERE product = $1").bind(product.name());
    tx.fetch_one(sql).await?.map(|row| row.get("password_sha256")).transpose()
}

/// Notes that the login was given this password.
pub(crate) async fn put(tx: &mut ControlTx, product: Product, password_sha256: &str) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}logins (product, password_sha256) VALUES ($1, $2) ON CONFLICT (product) DO UPDATE SET \
         password_sha256 = excluded.password_sha256",
    );
    tx.execute(sql.bind(product.name()).bind(password_sha256)).await.map(drop)
}
