//! Slowing down who guesses passwords, per account and per address, and who opens log-in pages without end, per address:
//! without holding anybody's request, in bounded memory.

use std::net::IpAddr;
use std::time::Duration;

use keyrealm_base::{TenantId, Timestamp};
use moka::ops::compute::Op;
use moka::sync::Cache;

/// Accounts and addresses that are remembered.
const REMEMBERED: u64 = 100_000;
const FREE_PER_ACCOUNT: u32 = 5;
const FREE_PER_ADDRESS: u32 = 50;
/// An address is forgiven one failure in so long: many people may share it.
const FORGIVEN: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_mins(15);
/// Log-in pages that an address may have open at once, and how soon it may open one more.
const FREE_PAGES: u32 = 300;
const PAGE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    /// When the last one was.
    at: Timestamp,
    until: Timestamp,
}

/// Tries to log in.
pub(crate) struct Throttle {
    accounts: Cache<(TenantId, String), Failures>,
    addresses: Cache<IpAddr, Failures>,
    pages: Cache<IpAddr, (u32, Timestamp)>,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        let idle = LONGEST * 2;
        Self {
            accounts: Cache::builder().max_capacity(REMEMBERED).time_to_idle(idle).build(),
            addresses: Cache::builder().max_capacity(REMEMBERED).time_to_idle(idle).build(),
            pages: Cache::builder().max_capacity(REMEMBERED).time_to_idle(idle).build(),
        }
    }

    /// Begins a try. It counts as failed from here on, so that of many at once no more are let in than one after another.
    ///
    /// # Errors
    /// How long to wait before the next try.
    pub(crate) fn begin(&self, tenant: TenantId, user: &str, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        count(&self.addresses, address, FREE_PER_ADDRESS, Some(FORGIVEN), now)?;
        count(&self.accounts, (tenant, user.to_owned()), FREE_PER_ACCOUNT, None, now).inspect_err(|_| {
            // Not let in: no try of this address, either.
            self.forgive(address);
        })
    }

    /// The account's owner is here: it starts anew.
    pub(crate) fn succeeded(&self, tenant: TenantId, user: &str, address: IpAddr) {
        self.accounts.invalidate(&(tenant, user.to_owned()));
        self.forgive(address);
    }

    /// The password was not looked at.
    pub(crate) fn undo(&self, tenant: TenantId, user: &str, address: IpAddr) {
        take_back(&self.accounts, (tenant, user.to_owned()));
        self.forgive(address);
    }

    fn forgive(&self, address: IpAddr) {
        take_back(&self.addresses, address);
    }

    /// Whether the address may open one more log-in page.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn open_page(&self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let mut allowed = false;
        self.pages.entry(address).and_compute_with(|entry| {
            let (open, at) = entry.map_or((0, now), |entry| *entry.value());
            let closed = now.since(at).as_millis() / PAGE.as_millis();
            let open = open.saturating_sub(u32::try_from(closed).unwrap_or(u32::MAX));
            allowed = open < FREE_PAGES;
            // The time between two steps is not lost.
            let at = if closed > 0 || open == 0 { now } else { at };
            if allowed { Op::Put((open + 1, at)) } else { Op::Nop }
        });
        if allowed { Ok(()) } else { Err(PAGE) }
    }
}

/// Counts a try, unless it has to wait.
fn count<K>(
    kept: &Cache<K, Failures>,
    key: K,
    free: u32,
    forgiven: Option<Duration>,
    now: Timestamp,
) -> Result<(), Duration>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
{
    let mut wait = Duration::ZERO;
    // One caller at a time for a key.
    kept.entry(key).and_compute_with(|entry| {
        let before = entry.map(|entry| *entry.value());
        wait = before.map_or(Duration::ZERO, |before| before.until.since(now));
        if !wait.is_zero() {
            return Op::Nop;
        }
        let count = before.map_or(0, |before| match forgiven {
            Some(each) => {
                let gone = now.since(before.at).as_millis() / each.as_millis();
                before.count.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX))
            }
            None => before.count,
        });
        Op::Put(next(count, free, now))
    });
    if wait.is_zero() { Ok(()) } else { Err(wait) }
}

fn take_back<K>(kept: &Cache<K, Failures>, key: K)
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
{
    kept.entry(key).and_compute_with(|entry| match entry.map(|entry| *entry.value()) {
        Some(Failures { count, at, .. }) if count > 1 => Op::Put(Failures { count: count - 1, at, until: at }),
        Some(_) => Op::Remove,
        None => Op::Nop,
    });
}

/// After the free tries, 1 s, 2 s, 4 s ... up to 15 minutes.
fn next(before: u32, free: u32, now: Timestamp) -> Failures {
    let count = before.saturating_add(1);
    let wait = match count.checked_sub(free) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1 << over.min(10)).min(LONGEST),
    };
    Failures { count, at: now, until: now.plus(wait) }
}

#[cfg(test)]
mod tests {
    use keyrealm_crypto::SystemRandom;

    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(0).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn waits_grow_per_account_and_end() {
        let (throttle, tenant) = (Throttle::new(), TenantId::new(&SystemRandom));
        for _ in 0..5 {
            assert_eq!(throttle.begin(tenant, "u", IP, at(0)), Ok(()));
        }
        assert_eq!(throttle.begin(tenant, "u", IP, at(0)), Err(Duration::from_secs(1)));
        assert_eq!(throttle.begin(tenant, "u", IP, at(1)), Ok(()));
        assert_eq!(throttle.begin(tenant, "u", IP, at(1)), Err(Duration::from_secs(2)));
        assert_eq!(throttle.begin(tenant, "v", IP, at(1)), Ok(()), "another account is free");
        let mut now = at(3);
        for _ in 0..20 {
            now = now.plus(LONGEST);
            assert_eq!(throttle.begin(tenant, "u", IP, now), Ok(()));
        }
        assert_eq!(throttle.begin(tenant, "u", IP, now), Err(LONGEST));
        throttle.succeeded(tenant, "u", IP);
        assert_eq!(throttle.begin(tenant, "u", IP, now), Ok(()));
    }

    /// Many threads at once get no more tries than one after another.
    #[test]
    fn tries_at_once_are_counted_one_by_one() {
        let (throttle, tenant) = (Throttle::new(), TenantId::new(&SystemRandom));
        let let_in = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        if throttle.begin(tenant, "u", IP, at(0)).is_ok() {
                            let_in.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(let_in.into_inner(), FREE_PER_ACCOUNT);
    }

    #[test]
    fn an_address_that_many_share_is_forgiven_with_time() {
        let (throttle, tenant) = (Throttle::new(), TenantId::new(&SystemRandom));
        let name = |n: u32| format!("user-{n}");
        for n in 0..FREE_PER_ADDRESS {
            assert_eq!(throttle.begin(tenant, &name(n), IP, at(0)), Ok(()));
        }
        assert!(throttle.begin(tenant, "x", IP, at(0)).is_err(), "fifty accounts from one address");
        for n in 0..200 {
            assert_eq!(throttle.begin(tenant, &name(100 + n), IP, at(10 + u64::from(n) * 10)), Ok(()), "{n}");
        }
        let (throttle, now) = (Throttle::new(), at(0));
        for n in 0..1000 {
            assert_eq!(throttle.begin(tenant, &name(n), IP, now), Ok(()));
            throttle.succeeded(tenant, &name(n), IP);
        }
        for _ in 0..1000 {
            assert_eq!(throttle.begin(tenant, "busy", IP, now), Ok(()), "what was not looked at does not count");
            throttle.undo(tenant, "busy", IP);
        }
    }

    #[test]
    fn log_in_pages_are_bounded_per_address() {
        let throttle = Throttle::new();
        for _ in 0..FREE_PAGES {
            assert_eq!(throttle.open_page(IP, at(0)), Ok(()));
        }
        assert_eq!(throttle.open_page(IP, at(0)), Err(PAGE));
        assert_eq!(throttle.open_page(IpAddr::from([127, 0, 0, 2]), at(0)), Ok(()));
        for _ in 0..5 {
            assert_eq!(throttle.open_page(IP, at(1)), Ok(()));
        }
        assert_eq!(throttle.open_page(IP, at(1)), Err(PAGE));
    }
}
