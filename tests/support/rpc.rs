//! `google.rpc.Status` and what its details hold.

use std::time::Duration;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// What the types of details begin with.
pub const TYPES: &str = "type.googleapis.com/google.rpc.";

/// When a status says to come back, by its `RetryInfo`.
pub fn retry_delay(status: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(status).expect("a google.rpc.Status");
    let info = status.details.iter().find(|any| any.type_url == format!("{TYPES}RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..]).expect("a RetryInfo").delay?;
    Some(Duration::new(delay.seconds as u64, delay.nanos as u32))
}
