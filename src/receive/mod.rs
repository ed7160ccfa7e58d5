//! OTLP receivers: gRPC and HTTP, admission by bytes.
