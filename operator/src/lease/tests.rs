//! Two candidates and a server, every instant by hand.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const TIMING: Timing =
    Timing { duration: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) };

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the API server does with a Lease.
#[derive(Debug, Default)]
struct Server {
    lease: Option<Record>,
    version: u64,
}

impl Server {
    /// A write: it is done when nobody wrote since `old` was read.
    fn write(&mut self, holder: &str, old: Option<&Record>) -> Option<Record> {
        let current = self.lease.as_ref().map(|lease| &lease.resource_version);
        if current != old.map(|old| &old.resource_version) {
            return None;
        }
        self.version += 1;
        let transitions = old.map_or(0, |old| old.transitions);
        let record = Record {
            holder: holder.to_owned(),
            duration: if holder.is_empty() { seconds(1) } else { TIMING.duration },
            transitions: transitions + i32::from(old.is_some_and(|old| old.holder != holder)),
            resource_version: self.version.to_string(),
        };
        self.lease = Some(record.clone());
        Some(record)
    }
}

/// A candidate whose clock is ahead by a constant.
struct Candidate {
    name: &'static str,
    ahead: Duration,
    election: Election,
    lost: bool,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// The server never sees it.
    Lost,
    /// The server does it, and its answer never comes.
    AnswerLost,
}

impl Candidate {
    fn new(name: &'static str, ahead: u64) -> Self {
        Self { name, ahead: seconds(ahead), election: Election::new(name.to_owned(), TIMING), lost: false }
    }

    fn clock(&self, now: Duration) -> Duration {
        now + self.ahead
    }

    fn works(&self, now: Duration) -> bool {
        !self.lost && self.election.works_until().is_some_and(|until| self.clock(now) < until)
    }

    /// A look, then the write that follows from it; the write arrives `later`.
    fn turn(&mut self, server: &mut Server, now: Duration, fates: (Fate, Fate), later: Duration) {
        if self.lost {
            return;
        }
        let clock = self.clock(now);
        if fates.0 == Fate::Done {
            self.election.saw(server.lease.clone(), clock);
        }
        let old = match self.election.decide(clock) {
            Decision::Lost(_) => {
                self.lost = true;
                return;
            }
            // A decision to write follows from a look alone.
            Decision::Wait(_) => return,
            _ if fates.0 != Fate::Done => return,
            Decision::Create => None,
            Decision::Acquire(record) | Decision::Renew(record) => Some(record),
        };
        if fates.1 == Fate::Lost {
            return;
        }
        let written = server.write(self.name, old.as_ref());
        if let (Some(record), Fate::Done) = (written, fates.1) {
            self.election.wrote(record, clock, clock + later);
        }
    }
}

const GOOD: (Fate, Fate) = (Fate::Done, Fate::Done);

#[test]
fn the_first_one_leads_and_the_second_waits_for_its_silence_by_its_own_clock() {
    let mut server = Server::default();
    // Their clocks are a year apart.
    let (mut a, mut b) = (Candidate::new("a", 0), Candidate::new("b", 31_536_000));
    a.turn(&mut server, seconds(0), GOOD, Duration::ZERO);
    assert!(a.works(seconds(0)));
    b.turn(&mut server, seconds(1), GOOD, Duration::ZERO);
    assert!(!b.works(seconds(1)), "what the Lease says of times is never compared with the own clock");
    b.turn(&mut server, seconds(15), GOOD, Duration::ZERO);
    assert!(!b.works(seconds(15)), "seen at 1, so not before 16");
    b.turn(&mut server, seconds(16), GOOD, Duration::ZERO);
    assert!(b.works(seconds(16)) && !a.works(seconds(16)));
    a.turn(&mut server, seconds(17), GOOD, Duration::ZERO);
    assert!(a.lost);
}

#[test]
fn a_renewal_starts_the_wait_anew() {
    let mut server = Server::default();
    let (mut a, mut b) = (Candidate::new("a", 0), Candidate::new("b", 0));
    for second in 0..100 {
        if second % 2 == 0 {
            a.turn(&mut server, seconds(second), GOOD, Duration::ZERO);
        }
        b.turn(&mut server, seconds(second), GOOD, Duration::ZERO);
        assert!(a.works(seconds(second)) && !b.works(seconds(second)), "{second}");
    }
}

/// The write was done, its answer was lost: the process must not believe that it leads, and must not lose the Lease to itself.
#[test]
fn a_commit_whose_answer_was_lost_is_made_sure_of() {
    let mut server = Server::default();
    let mut a = Candidate::new("a", 0);
    a.turn(&mut server, seconds(0), (Fate::Done, Fate::AnswerLost), Duration::ZERO);
    assert!(!a.works(seconds(0)) && server.lease.as_ref().unwrap().holder == "a");
    a.turn(&mut server, seconds(2), GOOD, Duration::ZERO);
    assert!(a.works(seconds(2)) && server.lease.as_ref().unwrap().transitions == 0);
    // A leader's renewal with a lost answer: the old term goes on, and no longer.
    a.turn(&mut server, seconds(4), (Fate::Done, Fate::AnswerLost), Duration::ZERO);
    assert!(a.works(seconds(11)) && !a.works(seconds(12)));
}

/// A partition longer than the Lease: the old leader has stopped before the new one begins.
#[test]
fn who_is_cut_off_stops_first() {
    let mut server = Server::default();
    let (mut a, mut b) = (Candidate::new("a", 7), Candidate::new("b", 0));
    a.turn(&mut server, seconds(0), GOOD, Duration::ZERO);
    b.turn(&mut server, seconds(0), GOOD, Duration::ZERO);
    let cut = (Fate::Lost, Fate::Lost);
    let mut stopped = None;
    for second in 1..40 {
        a.turn(&mut server, seconds(second), cut, Duration::ZERO);
        b.turn(&mut server, seconds(second), GOOD, Duration::ZERO);
        if !a.works(seconds(second)) {
            stopped.get_or_insert(second);
        }
        assert!(!(a.works(seconds(second)) && b.works(seconds(second))), "both at {second}");
    }
    assert_eq!(stopped, Some(10));
    assert!(a.lost && b.works(seconds(24)));
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once() {
    let mut server = Server::default();
    let (mut a, mut b) = (Candidate::new("a", 0), Candidate::new("b", 0));
    a.turn(&mut server, seconds(0), GOOD, Duration::ZERO);
    b.turn(&mut server, seconds(0), GOOD, Duration::ZERO);
    let held = server.lease.clone();
    server.write("", held.as_ref()).unwrap();
    b.turn(&mut server, seconds(1), GOOD, Duration::ZERO);
    assert!(b.works(seconds(1)));
    assert_eq!(server.lease.unwrap().transitions, 2);
}

#[test]
fn a_leader_whose_lease_is_deleted_or_taken_stops() {
    let mut server = Server::default();
    let mut a = Candidate::new("a", 0);
    a.turn(&mut server, seconds(0), GOOD, Duration::ZERO);
    server.lease = None;
    a.turn(&mut server, seconds(2), GOOD, Duration::ZERO);
    assert!(a.lost && server.lease.is_none(), "nobody knows who took it meanwhile");
}

#[test]
fn waits_are_short_so_that_a_lease_given_back_is_seen_soon() {
    let mut server = Server::default();
    let (mut a, mut b) = (Candidate::new("a", 0), Candidate::new("b", 0));
    a.turn(&mut server, seconds(0), GOOD, Duration::ZERO);
    b.turn(&mut server, seconds(0), GOOD, Duration::ZERO);
    assert_eq!(b.election.decide(seconds(0)), Decision::Wait(seconds(1)));
}

#[test]
fn the_right_to_write_ends_by_whichever_clock_is_ahead() {
    use std::sync::Arc;
    let leadership = Leadership::none(Arc::new(keyrealm_base::SystemClock));
    let now = leadership.now();
    assert!(!leadership.may_write(now));
    leadership.renewed(now, seconds(10));
    let after = |boot: u64, wall: u64| Now { boot: now.boot + seconds(boot), wall: now.wall.plus(seconds(wall)) };
    assert!(leadership.may_write(after(9, 9)));
    assert!(!leadership.may_write(after(10, 0)), "the machine slept, its wall clock was set back");
    assert!(!leadership.may_write(after(0, 10)), "the clock since the start stood still");
    leadership.end();
    assert!(!leadership.may_write(now) && leadership.check().is_err());
    assert!(Leadership::always(Arc::new(keyrealm_base::SystemClock)).check().is_ok());
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Done), 1 => Just(Fate::Lost), 1 => Just(Fate::AnswerLost)]
}

/// Who acts, after how many milliseconds, and what becomes of its two calls.
fn step() -> impl Strategy<Value = (usize, u64, Fate, Fate, bool)> {
    (0..3_usize, prop_oneof![0..3000_u64, 0..20_000_u64], fate(), fate(), prop::bool::weighted(0.03))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is lost and whenever they act: never do two of them work at one instant.
    #[test]
    fn never_do_two_lead(
        ahead in prop::array::uniform3(0..100_000_u64),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut server = Server::default();
        let [first, second, third] = ahead;
        let mut candidates = [Candidate::new("a", first), Candidate::new("b", second), Candidate::new("c", third)];
        let mut now = Duration::ZERO;
        for (who, millis, read, write, delete) in steps {
            now += Duration::from_millis(millis);
            let candidate = &mut candidates[who];
            if candidate.lost {
                // Its process is started anew, under another name.
                *candidate = Candidate::new(["d", "e", "f"][who], ahead[who]);
            }
            candidate.turn(&mut server, now, (read, write), Duration::ZERO);
            if delete && server.lease.as_ref().is_some_and(|lease| lease.holder.is_empty()) {
                server.lease = None;
            }
            let working: Vec<_> = candidates.iter().filter(|one| one.works(now)).map(|one| one.name).collect();
            prop_assert!(working.len() <= 1, "{working:?} at {now:?}");
        }
    }
}
