//! Rules, the index of traces, verdicts.
