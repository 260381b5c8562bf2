//! Notices of change, within a process and between processes. They are hints: whoever misses some reads everything again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use keyrealm_base::TenantId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

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
    /// What this product reports of a tenant's entries changed, or the version of its tables.
    Observed(Product, TenantId),
    /// A process began, ended, or stands otherwise than a moment ago.
    Instances,
    /// Nobody listened for a while: whatever others told is to be read again. Never sent to other processes.
    Missed,
}

/// A receiver of notices. On [`broadcast::error::RecvError::Lagged`] the receiver reads everything again.
pub type Notices = broadcast::Receiver<Notice>;

/// When to read again what notices tell of: at once after one, and every so often in any case. The time of the next reading
/// is fixed: notices of other things, however many, do not put it off.
pub struct Pulse {
    notices: Notices,
    every: Duration,
    next: Instant,
}

impl Pulse {
    /// The first reading was done just now.
    #[must_use]
    pub fn new(notices: Notices, every: Duration) -> Self {
        Self { notices, every, next: Instant::now() + every }
    }

    /// Waits for the next reading; `false` when the database is closed and nothing more will come.
    pub async fn wait(&mut self, wanted: impl Fn(Notice) -> bool) -> bool {
        loop {
            match tokio::time::timeout_at(self.next, self.notices.recv()).await {
                // The clock is looked at here, too: with a notice always at hand the timeout would never be polled.
                Ok(Ok(notice)) if !wanted(notice) && Instant::now() < self.next => {}
                Ok(Err(RecvError::Closed)) => return false,
                _ => break,
            }
        }
        // All that was told until now is read at once.
        while !matches!(self.notices.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        self.next = Instant::now() + self.every;
        true
    }
}

/// The form in which it goes to other processes.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch(product, tenant, epoch) => write!(f, "epoch {product} {tenant} {epoch}"),
            Self::Desired(product) => write!(f, "desired {product}"),
            Self::Revocations => f.write_str("revocations"),
            Self::Observed(product, tenant) => write!(f, "observed {product} {tenant}"),
            Self::Instances => f.write_str("instances"),
            Self::Missed => f.write_str("missed"),
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
            "observed" => {
                let product = Product::from_name(word()?).ok_or(())?;
                Self::Observed(product, word()?.parse().map_err(|_| ())?)
            }
            "instances" => Self::Instances,
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
        for notice in [
            Notice::Epoch(Product::Kms, tenant, 7),
            Notice::Desired(Product::Identity),
            Notice::Revocations,
            Notice::Observed(Product::Kms, tenant),
            Notice::Instances,
        ] {
            assert_eq!(notice.to_string().parse(), Ok(notice));
        }
        for foreign in ["", "epoch kms", "epoch kms x 1", "desired nobody", "revocations now", "news", "missed"] {
            assert_eq!(foreign.parse::<Notice>(), Err(()), "{foreign}");
        }
    }

    /// A notice of something else every second, and a reading is due every five: it comes after five.
    #[tokio::test(start_paused = true)]
    async fn notices_of_other_things_do_not_put_a_reading_off() {
        let (sender, notices) = broadcast::channel(16);
        let mut pulse = Pulse::new(notices, Duration::from_secs(5));
        tokio::spawn(async move {
            loop {
                sender.send(Notice::Desired(Product::Kms)).unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let began = Instant::now();
        let due = pulse.wait(|notice| notice == Notice::Revocations);
        assert!(tokio::time::timeout(Duration::from_mins(1), due).await.unwrap());
        assert_eq!(began.elapsed().as_secs(), 5);
        assert!(pulse.wait(|notice| notice == Notice::Desired(Product::Kms)).await);
        assert!(began.elapsed() < Duration::from_secs(7), "what is wanted is read at once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_missed_is_read_and_a_closed_database_is_the_end() {
        let (sender, notices) = broadcast::channel(1);
        let mut pulse = Pulse::new(notices, Duration::from_secs(5));
        for _ in 0..3 {
            sender.send(Notice::Desired(Product::Kms)).unwrap();
        }
        assert!(pulse.wait(|_| false).await, "some were missed");
        drop(sender);
        assert!(!pulse.wait(|_| false).await);
    }
}
