//! TraceQL: lexer, parser, types, evaluation over one trace. Pure.
//!
//! [`parse`] turns text into a checked [`Query`]; [`eval`] runs it over anything that implements [`TraceAccess`].

mod access;
mod ast;
mod display;
mod error;
mod eval;
mod fold;
mod lexer;
mod parser;
mod types;
mod values;
mod walk;
mod words;

pub use access::{SpanAccess, TraceAccess, Value, Values};
pub use ast::*;
pub use error::{ParseError, ParseErrorKind};
pub use eval::{Matched, MatchedSpanset, compares, eval, matches, values_of};
pub use parser::{DEPTH_MAX, NESTING_MAX, PATTERNS_MAX, QUERY_BYTES_MAX, parse};
pub use types::Type;
pub use walk::Reach;
