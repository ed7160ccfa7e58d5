//! How a unit can end early.

use crate::store::error::StoreError;

/// Why a unit came to nothing; the table is as it was.
#[derive(Debug)]
pub(super) enum Failure {
    /// The store, or a file.
    Store(StoreError),
    /// The input of this number is not sorted.
    Unsorted(usize),
    /// More files must be open at once than there is memory for.
    Crowded,
    /// The caller wants it to stop.
    Stopped,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
