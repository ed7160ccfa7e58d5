//! Trace by id and search over the table and the log.
