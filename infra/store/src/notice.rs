//! Notices of change, within a process and between processes. They are hints: whoever misses some reads everything again.

use std::fmt;
use std::str::FromStr;

use keyrealm_base::TenantId;
use tokio::sync::broadcast;

use crate::Product;

/// Something changed in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// What snapshots of this tenant hold is of this epoch now.
    Epoch(Product, TenantId, i64),
    /// Desired rows of this product changed.
    Desired(Product),
    /// Revocations were added.
    Revocations,
}

/// A receiver of notices. On [`broadcast::error::RecvError::Lagged`] the receiver reads everything again.
pub type Notices = broadcast::Receiver<Notice>;

/// The form in which it goes to other processes.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch(product, tenant, epoch) => write!(f, "epoch {product} {tenant} {epoch}"),
            Self::Desired(product) => write!(f, "desired {product}"),
            Self::Revocations => f.write_str("revocations"),
        }
    }
}

impl FromStr for Notice {
    type Err = ();

    /// Anything else, such as what a newer release says, is none of ours.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(());
        let notice = match word()? {
            "epoch" => {
                let product = Product::from_name(word()?).ok_or(())?;
                Self::Epoch(product, word()?.parse().map_err(|_| ())?, word()?.parse().map_err(|_| ())?)
            }
            "desired" => Self::Desired(Product::from_name(word()?).ok_or(())?),
            "revocations" => Self::Revocations,
            _ => return Err(()),
        };
        if words.next().is_some() { Err(()) } else { Ok(notice) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_heard() {
        let tenant: TenantId = "3f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6c".parse().unwrap();
        for notice in [Notice::Epoch(Product::Kms, tenant, 7), Notice::Desired(Product::Identity), Notice::Revocations]
        {
            assert_eq!(notice.to_string().parse(), Ok(notice));
        }
        for foreign in ["", "epoch kms", "epoch kms x 1", "desired nobody", "revocations now", "news"] {
            assert_eq!(foreign.parse::<Notice>(), Err(()), "{foreign}");
        }
    }
}
