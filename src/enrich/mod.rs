//! Attribute actions, detectors and redaction on the wire bytes.
