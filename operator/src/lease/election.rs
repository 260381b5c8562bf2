//! Who leads, from what was seen of the Lease and when. No I/O; times are those of the own clock alone: what another process
//! wrote as its time is never compared with them, so that clocks may differ as they like.

use std::time::Duration;

/// The Lease as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when it was given back.
    pub holder: String,
    /// How long the holder may be silent.
    pub duration: Duration,
    /// How often the holder changed.
    pub transitions: i32,
    /// Changes with every write.
    pub resource_version: String,
}

/// The times of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A leader that was not heard of for so long is replaced.
    pub duration: Duration,
    /// A leader that could not renew for so long stops.
    pub renew: Duration,
    /// Between two looks.
    pub retry: Duration,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// There is no Lease: make one.
    Create,
    /// It is free: take it, by a write that fails when somebody else wrote since.
    Acquire(Record),
    /// It is ours: renew it, by the same kind of write.
    Renew(Record),
    /// Look again after this.
    Wait(Duration),
    /// It was ours. The process ends.
    Lost(&'static str),
}

/// One candidate.
#[derive(Debug)]
pub struct Election {
    me: String,
    timing: Timing,
    /// What was read last, and when this very record was read first.
    observed: Option<(Record, Duration)>,
    /// Whether the Lease was read at all.
    read: bool,
    /// When the last write that is known to have succeeded was sent.
    renewed: Option<Duration>,
}

impl Election {
    /// A candidate of this name, which no other process has.
    #[must_use]
    pub fn new(me: String, timing: Timing) -> Self {
        Self { me, timing, observed: None, read: false, renewed: None }
    }

    /// The Lease was read.
    pub fn saw(&mut self, record: Option<Record>, now: Duration) {
        self.read = true;
        self.observed = match (record, self.observed.take()) {
            (Some(new), Some((old, since))) if new == old => Some((old, since)),
            (Some(new), _) => Some((new, now)),
            (None, _) => None,
        };
    }

    /// A write that was sent at `sent` succeeded; this is the Lease now.
    pub fn wrote(&mut self, record: Record, sent: Duration, now: Duration) {
        self.saw(Some(record), now);
        self.renewed = Some(sent);
    }

    /// Until when this process may work: a write that begins later could meet another leader's.
    #[must_use]
    pub fn works_until(&self) -> Option<Duration> {
        self.renewed.map(|sent| sent + self.timing.renew)
    }

    /// What is to be done. A write is decided on from a record that was read since the last one.
    #[must_use]
    pub fn decide(&self, now: Duration) -> Decision {
        if self.works_until().is_some_and(|until| now >= until) {
            return Decision::Lost("the Lease could not be renewed in time");
        }
        let leads = self.renewed.is_some();
        let Some((record, since)) = &self.observed else {
            return match (leads, self.read) {
                (true, _) => Decision::Lost("the Lease was deleted"),
                (false, true) => Decision::Create,
                (false, false) => Decision::Wait(Duration::ZERO),
            };
        };
        if record.holder == self.me {
            // Also after a write whose answer was lost: the next one makes sure.
            return Decision::Renew(record.clone());
        }
        if leads {
            return Decision::Lost("another process holds the Lease");
        }
        if record.holder.is_empty() {
            return Decision::Acquire(record.clone());
        }
        // What stands in the Lease can be anything; the own duration is the least.
        let silent = record.duration.clamp(self.timing.duration, Duration::from_secs(300));
        match (*since + silent).checked_sub(now) {
            Some(rest) if !rest.is_zero() => Decision::Wait(rest.min(self.timing.retry / 2)),
            _ => Decision::Acquire(record.clone()),
        }
    }
}
