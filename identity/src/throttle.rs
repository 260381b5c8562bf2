//! Slowing down who guesses passwords: per account and per address, without holding anybody's request, in bounded
//! memory.

use std::net::IpAddr;
use std::time::Duration;

use keyrealm_base::{TenantId, Timestamp};
use moka::sync::Cache;

/// Accounts and addresses that are remembered.
const REMEMBERED: u64 = 100_000;
const FREE_PER_ACCOUNT: u32 = 5;
const FREE_PER_ADDRESS: u32 = 50;
const LONGEST: Duration = Duration::from_mins(15);

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    until: Timestamp,
}

/// Failed log-ins.
pub(crate) struct Throttle {
    accounts: Cache<(TenantId, String), Failures>,
    addresses: Cache<IpAddr, Failures>,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        let accounts = Cache::builder().max_capacity(REMEMBERED).time_to_idle(LONGEST * 2).build();
        Self { accounts, addresses: Cache::builder().max_capacity(REMEMBERED).time_to_idle(LONGEST * 2).build() }
    }

    /// How long to wait before the next try, if at all.
    pub(crate) fn wait(&self, tenant: TenantId, user: &str, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let account = self.accounts.get(&(tenant, user.to_owned())).map(|failures| failures.until);
        let address = self.addresses.get(&address).map(|failures| failures.until);
        account.into_iter().chain(address).max().map(|until| until.since(now)).filter(|wait| !wait.is_zero())
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, tenant: TenantId, user: &str, address: IpAddr, now: Timestamp) {
        let account = (tenant, user.to_owned());
        let before = self.accounts.get(&account).map_or(0, |failures| failures.count);
        self.accounts.insert(account, next(before, FREE_PER_ACCOUNT, now));
        let before = self.addresses.get(&address).map_or(0, |failures| failures.count);
        self.addresses.insert(address, next(before, FREE_PER_ADDRESS, now));
    }

    /// The account's owner is here: it starts anew.
    pub(crate) fn succeeded(&self, tenant: TenantId, user: &str) {
        self.accounts.invalidate(&(tenant, user.to_owned()));
    }
}

/// After the free tries, 1 s, 2 s, 4 s ... up to 15 minutes.
fn next(before: u32, free: u32, now: Timestamp) -> Failures {
    let count = before.saturating_add(1);
    let wait = match count.checked_sub(free) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1 << over.min(10)).min(LONGEST),
    };
    Failures { count, until: now.plus(wait) }
}

#[cfg(test)]
mod tests {
    use keyrealm_crypto::SystemRandom;

    use super::*;

    #[test]
    fn waits_grow_per_account_and_end() {
        let (throttle, tenant, ip) = (Throttle::new(), TenantId::new(&SystemRandom), IpAddr::from([127, 0, 0, 1]));
        let now = Timestamp::from_seconds(0);
        for _ in 0..4 {
            throttle.failed(tenant, "u", ip, now);
        }
        assert_eq!(throttle.wait(tenant, "u", ip, now), None);
        throttle.failed(tenant, "u", ip, now);
        assert_eq!(throttle.wait(tenant, "u", ip, now), Some(Duration::from_secs(1)));
        throttle.failed(tenant, "u", ip, now);
        assert_eq!(throttle.wait(tenant, "u", ip, now), Some(Duration::from_secs(2)));
        assert_eq!(throttle.wait(tenant, "u", ip, now.plus(Duration::from_secs(2))), None);
        assert_eq!(throttle.wait(tenant, "v", ip, now), None, "another account is free");
        for _ in 0..100 {
            throttle.failed(tenant, "u", ip, now);
        }
        assert_eq!(throttle.wait(tenant, "u", ip, now), Some(LONGEST));
        throttle.succeeded(tenant, "u");
        let other = IpAddr::from([127, 0, 0, 2]);
        assert_eq!(throttle.wait(tenant, "u", other, now), None);
    }
}
