//! Configuration: raw YAML and environment, validated.
