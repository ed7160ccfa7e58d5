//! TraceQL: lexer, parser, types, evaluation over one trace. Pure.
