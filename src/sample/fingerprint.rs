//! Sixty-four bits that stand for a trace where its whole id would take too much room: verdicts remembered, verdicts on disk.
//!
//! Two traces of one day with the same fingerprint are as good as never met: with a hundred million of them the odds are
//! one in 3 700. The later one would inherit the verdict of the earlier one, as if its spans had come late.

use twox_hash::XxHash3_64;

use crate::runtime::Tenant;
use crate::wire::TraceId;

/// A hash of a tenant's name and a trace id: XXH3 of the id, seeded with XXH3 of the name. It is on disk: it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of a tenant's trace.
    pub fn of(tenant: &Tenant, trace_id: &TraceId) -> Self {
        Self::seeded(Self::seed(tenant), trace_id)
    }

    /// What a tenant adds to the fingerprints of its traces.
    pub fn seed(tenant: &Tenant) -> u64 {
        XxHash3_64::oneshot(tenant.as_str().as_bytes())
    }

    /// The fingerprint of a trace of the tenant whose [`Fingerprint::seed`] is given.
    pub fn seeded(seed: u64, trace_id: &TraceId) -> Self {
        Self(XxHash3_64::oneshot_with_seed(seed, &trace_id.0))
    }
}
