//! A claim on the wire: one gRPC call, whose messages are protobuf.
//!
//! `Claim`: `asker` (1) and `tenant` (2) are strings, `trace_ids` (3) all ids one behind the other, `only_asks` (4) is a bool.
//! `Claimed`: `answers` (1) has one byte for each id: 0 the arbiter's, 1 the asker's, 2 + n that of the nth `member` (2). To who
//! only asks, 1 says that nothing is known.

use bytes::Bytes;
use http::HeaderName;

use super::Answer;
use crate::forward::ring::Member;
use crate::runtime::Tenant;
use crate::wire::{Fields, TraceId, WireError, put_bytes_field, put_varint_field};

/// The method.
pub const CLAIM: &str = "/tracewell.fleet.v1.Fleet/Claim";
/// On an export: these spans were claimed, and are taken without another question.
pub const HANDOVER: HeaderName = HeaderName::from_static("tracewell-handover");

/// So many members can be told of in one answer.
const MEMBERS_MAX: usize = 250;

/// A question about traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who asks.
    pub asker: Member,
    /// Whose traces.
    pub tenant: Tenant,
    /// Which.
    pub trace_ids: Vec<TraceId>,
    /// Nothing is to be given away: it wants to know what others know.
    pub only_asks: bool,
}

/// The answers, in the order of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed(pub Vec<Answer>);

impl Claim {
    /// Its message.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.trace_ids.len() * 16 + 200);
        put_bytes_field(&mut out, 1, self.asker.as_str().as_bytes());
        put_bytes_field(&mut out, 2, self.tenant.as_str().as_bytes());
        let ids: Vec<u8> = self.trace_ids.iter().flat_map(|id| id.0).collect();
        put_bytes_field(&mut out, 3, &ids);
        if self.only_asks {
            put_varint_field(&mut out, 4, 1);
        }
        out.into()
    }

    /// Reads its message.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let (asker, tenant) = (Member::nobody(), Tenant::default());
        let mut claim = Self { asker, tenant, trace_ids: Vec::new(), only_asks: false };
        let mut fields = Fields::new(message);
        while let Some(field) = fields.read()? {
            match field.number {
                1 => claim.asker = Member::new(field.text("asker")?),
                2 => {
                    let name = field.text("tenant")?;
                    claim.tenant = Tenant::new(name).ok_or(WireError::Mismatch("tenant"))?;
                }
                3 => {
                    let ids = field.bytes("trace_ids")?.chunks_exact(16);
                    claim.trace_ids = ids.filter_map(TraceId::from_slice).collect();
                }
                4 => claim.only_asks = field.varint("only_asks")? != 0,
                _ => {}
            }
        }
        Ok(claim)
    }
}

impl Claimed {
    /// Its message.
    pub fn encode(&self) -> Bytes {
        let mut names: Vec<&Member> = Vec::new();
        let mut answers = Vec::with_capacity(self.0.len());
        for answer in &self.0 {
            answers.push(match answer {
                Answer::Mine => 0,
                Answer::Yours => 1,
                Answer::Theirs(member) => {
                    let index = names.iter().position(|name| *name == member).unwrap_or_else(|| {
                        names.push(member);
                        names.len() - 1
                    });
                    // More members than a byte can name: the asker asks again.
                    u8::try_from(index + 2).unwrap_or(u8::MAX)
                }
            });
        }
        let mut out = Vec::new();
        put_bytes_field(&mut out, 1, &answers);
        names
            .iter()
            .take(MEMBERS_MAX)
            .for_each(|name| put_bytes_field(&mut out, 2, name.as_str().as_bytes()));
        out.into()
    }

    /// Reads its message.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let (mut answers, mut names): (&[u8], Vec<Member>) = (&[], Vec::new());
        let mut fields = Fields::new(message);
        while let Some(field) = fields.read()? {
            match field.number {
                1 => answers = field.bytes("answers")?,
                2 => names.push(Member::new(field.text("member")?)),
                _ => {}
            }
        }
        let answers = answers.iter().map(|byte| match byte {
            0 => Ok(Answer::Mine),
            1 => Ok(Answer::Yours),
            index => {
                let name = names.get(usize::from(*index) - 2).cloned();
                name.map(Answer::Theirs).ok_or(WireError::Mismatch("answers"))
            }
        });
        answers.collect::<Result<_, _>>().map(Self)
    }
}
