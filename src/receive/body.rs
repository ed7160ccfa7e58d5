//! Reading a request's body under its limits: announced length, budget, deadline.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;
use tonic::Code;

use super::admission::{Budget, Party};
use super::decompress::{Encoding, Inflated, Inflater};
use super::failure::Failure;

/// gRPC's prefix of a message: one byte whether it is compressed, four of length.
const PREFIX_BYTES: usize = 5;
/// Reserved for a body of unknown length before its first byte is seen.
const UNKNOWN_LENGTH_BYTES: usize = 16 * 1024;

/// How long a request waits for room before its sender is told to come back: long enough for those before it to get
/// their sync.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a body may cost.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) budget: Budget,
    pub(super) bytes_max: usize,
    pub(super) deadline: Duration,
}

impl Limits {
    /// Reads a whole body. Room is reserved before its first byte is read, for as long as it says it is.
    pub(super) async fn read<B>(
        &self,
        body: &mut B,
        encoding: Encoding,
        party: &Party,
    ) -> Result<Inflated, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let announced = body.size_hint().exact();
        let length = announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length > self.bytes_max) {
            return Err(Failure::TooLarge { bytes_max: self.bytes_max });
        }
        let permit = self.budget.reserve(party, length.unwrap_or(UNKNOWN_LENGTH_BYTES), PATIENCE).await?;
        let mut inflater = Inflater::new(encoding, self.bytes_max, permit)?;
        self.in_time(async {
            while let Some(piece) = next_piece(body).await? {
                inflater.push(piece)?;
            }
            inflater.finish()
        })
        .await
    }

    /// Reads the one message of a unary gRPC call.
    pub(super) async fn read_message<B>(
        &self,
        body: &mut B,
        encoding: Encoding,
        party: &Party,
    ) -> Result<Inflated, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.in_time(async {
            let (prefix, rest) = read_prefix(body).await?;
            let length = prefix.length;
            if length > self.bytes_max {
                return Err(Failure::TooLarge { bytes_max: self.bytes_max });
            }
            let encoding = prefix.encoding(encoding)?;
            let permit = self.budget.reserve(party, length, PATIENCE).await?;
            let mut inflater = Inflater::new(encoding, self.bytes_max, permit)?;
            let mut missing = length;
            let mut next = Some(rest);
            while let Some(piece) = next {
                if piece.len() > missing {
                    let message = "more than one message in a unary call".into();
                    return Err(Failure::Protocol { code: Code::Unimplemented, message });
                }
                missing -= piece.len();
                inflater.push(piece)?;
                next = next_piece(body).await?;
            }
            if missing > 0 {
                return Err(Failure::malformed(format!("the message ends {missing} bytes early")));
            }
            inflater.finish()
        })
        .await
    }

    /// Reads on and throws away, so that a sender in the middle of an HTTP/1.1 body gets to read our answer
    /// rather than a reset. Gives up after this many bytes, and this time.
    pub(super) async fn discard<B>(&self, body: &mut B, bytes_max: usize, time_max: Duration)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if body.size_hint().lower() > bytes_max as u64 {
            return;
        }
        let mut left = bytes_max;
        let discarded = async {
            while let Some(piece) = next_piece(body).await? {
                left = left.saturating_sub(piece.len());
                if left == 0 {
                    break;
                }
            }
            Ok::<(), Failure>(())
        };
        let _as_much_as_it_was = timeout(time_max, discarded).await;
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        timeout(self.deadline, pin!(work)).await.unwrap_or(Err(Failure::TimedOut(self.deadline)))
    }
}

/// The next bytes of a body; `None` at its end.
async fn next_piece<B>(body: &mut B) -> Result<Option<Bytes>, Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Disconnected)?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

struct Prefix {
    compressed: u8,
    length: usize,
}

impl Prefix {
    /// How the message is compressed, from the call's encoding and the message's flag.
    fn encoding(&self, of_call: Encoding) -> Result<Encoding, Failure> {
        let wrong = |message: String| Err(Failure::Protocol { code: Code::Internal, message });
        match (self.compressed, of_call) {
            (0, _) => Ok(Encoding::Identity),
            (1, Encoding::Identity) => wrong("a compressed message without grpc-encoding".into()),
            (1, encoding) => Ok(encoding),
            (flag, _) => wrong(format!("compressed flag {flag}, which is neither 0 nor 1")),
        }
    }
}

/// Reads the prefix, and what came in the same piece behind it.
async fn read_prefix<B>(body: &mut B) -> Result<(Prefix, Bytes), Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut start = Bytes::new();
    while start.len() < PREFIX_BYTES {
        let Some(piece) = next_piece(body).await? else {
            return Err(Failure::malformed(format!("the call ends {} bytes into the prefix", start.len())));
        };
        start = if start.is_empty() { piece } else { joined(&start, &piece) };
    }
    let compressed = start.get_u8();
    let length = usize::try_from(start.get_u32()).unwrap_or(usize::MAX);
    Ok((Prefix { compressed, length }, start))
}

/// Only for a prefix that was cut in pieces.
fn joined(first: &[u8], second: &[u8]) -> Bytes {
    let mut both = BytesMut::with_capacity(first.len() + second.len());
    both.extend_from_slice(first);
    both.extend_from_slice(second);
    both.freeze()
}
