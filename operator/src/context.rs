//! What every pass is given.

use keyrealm_base::{SharedClock, SharedRandom};

use crate::applied::AppliedMemory;
use crate::config::Settings;
use crate::databases::Databases;
use crate::events::Events;
use crate::failpoint::Failpoint;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::stores::Stores;

/// The parts of one process.
pub struct Context {
    /// The API server. Its writes pass only while this process leads.
    pub client: kube::Client,
    /// The configuration.
    pub settings: Settings,
    /// The time.
    pub clock: SharedClock,
    /// Randomness.
    pub random: SharedRandom,
    /// What is known of the cluster.
    pub stores: Stores,
    /// What was applied last.
    pub applied: AppliedMemory,
    /// The realms' databases.
    pub databases: Databases,
    /// Figures.
    pub metrics: Metrics,
    /// Events.
    pub events: Events,
    /// Points for tests.
    pub failpoint: Failpoint,
    /// Whether this process may write.
    pub leadership: Leadership,
}
