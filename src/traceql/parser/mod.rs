//! Tokens to a syntax tree: a Pratt parser, first for pipelines and spansets, then for what stands in braces.

mod field;
mod stage;

use super::ast::{Hint, Literal, Query, SourceSpan};
use super::error::{Fault, ParseError, ParseErrorKind};
use super::lexer::{Lexer, Token};
use super::types;

/// The longest query taken, in bytes.
pub const QUERY_BYTES_MAX: usize = 128 * 1024;

/// How deep parentheses and prefix operators may nest.
pub const NESTING_MAX: usize = 64;

/// How deep a tree may grow; a chain `a && b && c` grows by one for each operator.
pub const DEPTH_MAX: usize = 512;

/// How many regular expressions a query may hold: each may take up to a mebibyte once compiled.
pub const PATTERNS_MAX: usize = 64;

/// Parses and checks a query: grammar, types, regular expressions, limits. Never panics.
pub fn parse(source: &str) -> Result<Query, ParseError> {
    parse_faulty(source).map_err(|fault| ParseError::locate(fault, source))
}

fn parse_faulty(source: &str) -> Result<Query, Fault> {
    if source.len() > QUERY_BYTES_MAX {
        let message = format!("a query has at most {QUERY_BYTES_MAX} bytes, this one has {}", source.len());
        return Err(Fault::new(ParseErrorKind::TooLong, SourceSpan::new(0, source.len()), message));
    }
    let query = Parser::new(source)?.query()?;
    types::check(&query)?;
    Ok(query)
}

/// A node and the height of the tree under it.
struct Tall<T> {
    node: T,
    height: usize,
}

impl<T> Tall<T> {
    fn leaf(node: T) -> Self {
        Self { node, height: 1 }
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Tall<U> {
        Tall { node: change(self.node), height: self.height }
    }
}

/// A parser with one token of lookahead.
struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    at: SourceSpan,
    /// Where the token before ended.
    last_end: usize,
    nesting: usize,
    patterns: usize,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Result<Self, Fault> {
        let mut lexer = Lexer::new(source);
        let (token, at) = lexer.next()?;
        Ok(Self { lexer, token, at, last_end: 0, nesting: 0, patterns: 0 })
    }

    /// `pipeline [with(…)]`.
    fn query(mut self) -> Result<Query, Fault> {
        let (stages, scalar) = self.stages()?;
        if scalar.is_some() {
            return Err(self.expected("a comparison such as `> 2` after the aggregate"));
        }
        let mut hints = Vec::new();
        while self.is_word("with") {
            self.advance()?;
            self.hints(&mut hints)?;
        }
        match self.token {
            Token::End => Ok(Query { pipeline: stages.node, hints }),
            _ => Err(self.expected("`|`, a spanset operator or the end of the query")),
        }
    }

    /// `(name=value, …)`.
    fn hints(&mut self, hints: &mut Vec<Hint>) -> Result<(), Fault> {
        self.expect("(")?;
        loop {
            let name = match &self.token {
                Token::Word(word) => word.clone(),
                Token::Intrinsic(intrinsic) => intrinsic.word(),
                _ => return Err(self.expected("the name of a hint")),
            };
            self.advance()?;
            self.expect("=")?;
            hints.push(Hint { name, value: self.hint_value()? });
            if !self.take(",")? {
                return self.expect(")");
            }
        }
    }

    fn hint_value(&mut self) -> Result<Literal, Fault> {
        let at = self.at;
        match self.field()?.node {
            super::ast::FieldExpr::Literal(literal, _) => Ok(literal),
            _ => Err(Fault::syntax(at, "the value of a hint must be a constant")),
        }
    }

    /// Steps to the next token and returns the one left behind.
    fn advance(&mut self) -> Result<Token, Fault> {
        let (token, at) = self.lexer.next()?;
        self.last_end = self.at.end;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn symbol(&self) -> Option<&'static str> {
        match self.token {
            Token::Symbol(symbol) => Some(symbol),
            _ => None,
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.token, Token::Word(found) if found == word)
    }

    fn take(&mut self, symbol: &str) -> Result<bool, Fault> {
        let found = self.symbol() == Some(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Fault> {
        if self.take(symbol)? { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// The error that something else should stand here.
    fn expected(&self, what: &str) -> Fault {
        Fault::syntax(self.at, format!("expected {what}"))
    }

    /// From `start` to the end of the last token.
    fn since(&self, start: SourceSpan) -> SourceSpan {
        SourceSpan::new(start.start, self.last_end.max(start.start))
    }

    /// Runs `parse` one level deeper, unless that is too deep.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.nesting >= NESTING_MAX {
            let message = format!("nested deeper than {NESTING_MAX} levels");
            return Err(Fault::new(ParseErrorKind::TooDeep, self.at, message));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }
}

/// A node over others, the highest of which is `height` high, unless the tree grows too high.
fn grown<T>(node: T, height: usize, at: SourceSpan) -> Result<Tall<T>, Fault> {
    if height >= DEPTH_MAX {
        let message =
            format!("more than {DEPTH_MAX} operators in a chain; use a regular expression or parentheses");
        return Err(Fault::new(ParseErrorKind::TooDeep, at, message));
    }
    Ok(Tall { node, height: height + 1 })
}

#[cfg(test)]
mod tests;
