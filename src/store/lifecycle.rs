//! The bucket's lifecycle rules: the backstop that purges what the daemon did not.

/// The tag that says which retention class an object is of.
pub const TAG_RETENTION: &str = "tracewell-retention";
