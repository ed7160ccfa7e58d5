//! Protobuf views and edits on OTLP wire bytes. Pure.
