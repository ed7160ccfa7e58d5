//! TraceQL: lexer, parser, types, evaluation over one trace. Pure.
//!
//! `parse` turns text into a checked [`Query`]; `eval` runs it over anything that implements [`TraceAccess`].

mod access;
mod ast;

pub use access::{SpanAccess, TraceAccess, Value, Values};
pub use ast::*;
