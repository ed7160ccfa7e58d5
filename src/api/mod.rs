//! HTTP API: Tempo's shapes, status, metrics.
