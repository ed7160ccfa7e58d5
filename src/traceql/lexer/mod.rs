//! Text to tokens, one at a time, each with its position.

mod literals;

pub(super) use literals::UNITS;

use super::ast::{Intrinsic, Scope, SourceSpan};
use super::error::Fault;

/// A token of the language.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A string, unescaped.
    Str(String),
    /// An integer without sign: `-` is a token of its own, so that the smallest integer can be written.
    Int(u64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// A duration in nanoseconds, without sign.
    Duration(u64),
    /// An attribute with its scope.
    Attribute { parent: bool, scope: Scope, name: String },
    /// An intrinsic, in either spelling.
    Intrinsic(Intrinsic),
    /// Any other word.
    Word(String),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// The end of the query.
    End,
}

/// Longest first: the first that fits is the token.
const SYMBOLS: &[&str] = &[
    "!>>", "!<<", "&>>", "&<<", "&&", "||", "=~", "!~", "!=", "<=", ">=", "!>", "!<", "&>", "&<", "&~", ">>",
    "<<", "{", "}", "(", ")", "=", "<", ">", "+", "-", "*", "/", "%", "^", "!", "|", ",", "~",
];

/// Reads tokens from a query.
pub(super) struct Lexer<'a> {
    source: &'a str,
    offset: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(source: &'a str) -> Self {
        Self { source, offset: 0 }
    }

    /// The next token and where it stands; `End` for ever after the last one.
    pub fn next(&mut self) -> Result<(Token, SourceSpan), Fault> {
        self.skip_blanks();
        let start = self.offset;
        let token = match self.peek() {
            None => Token::End,
            Some('"') => Token::Str(self.quoted_string()?),
            Some('`') => Token::Str(self.raw_string()?),
            Some(c) if c.is_ascii_digit() => self.number()?,
            Some('.') if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            Some('.') => {
                self.offset += 1;
                self.attribute(false, Scope::Unscoped, start)?
            }
            Some(c) if is_word_start(c) => self.word()?,
            Some(c) => self.symbol(c)?,
        };
        Ok((token, self.since(start)))
    }

    /// Steps over white space and comments, from `//` to the end of the line.
    fn skip_blanks(&mut self) {
        self.skip_while(char::is_whitespace);
        while self.take("//") {
            self.skip_while(|c| c != '\n');
            self.skip_while(char::is_whitespace);
        }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.offset..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn since(&self, start: usize) -> SourceSpan {
        SourceSpan::new(start, self.offset)
    }

    /// Steps over what `keep` accepts and returns it.
    fn skip_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.offset += length;
        &rest[..length]
    }

    /// Steps over `text` if it comes next.
    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.offset += text.len();
        }
        found
    }

    fn symbol(&mut self, first: char) -> Result<Token, Fault> {
        match SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol)) {
            Some(symbol) => {
                self.offset += symbol.len();
                Ok(Token::Symbol(symbol))
            }
            None => {
                let at = SourceSpan::new(self.offset, self.offset + first.len_utf8());
                Err(Fault::syntax(at, "this character means nothing here"))
            }
        }
    }

    /// A word, and with it what a dot or a colon makes of it: an attribute or an intrinsic.
    fn word(&mut self) -> Result<Token, Fault> {
        let start = self.offset;
        let word = self.skip_while(is_word_part);
        if word == "parent" && self.take(".") {
            // `parent.span.x` has a scope, `parent.spanner` has none.
            for scope in [Scope::Span, Scope::Resource] {
                if self.take(&format!("{}.", scope.word())) {
                    return self.attribute(true, scope, start);
                }
            }
            return self.attribute(true, Scope::Unscoped, start);
        }
        if let Some(scope) = Scope::from_word(word)
            && self.take(".")
        {
            return self.attribute(false, scope, start);
        }
        if self.take(":") {
            self.skip_while(is_word_part);
            let scoped = &self.source[start..self.offset];
            return Intrinsic::from_word(scoped)
                .map(Token::Intrinsic)
                .ok_or_else(|| Fault::syntax(self.since(start), "there is no such intrinsic"));
        }
        if self.peek() == Some('.') {
            let message =
                "expected a scope before the dot: span, resource, event, link, instrumentation or parent";
            return Err(Fault::syntax(self.since(start), message));
        }
        Ok(Intrinsic::from_word(word).map_or_else(|| Token::Word(word.to_owned()), Token::Intrinsic))
    }

    /// The name of an attribute: bare text and quoted parts, up to a space or an operator.
    fn attribute(&mut self, parent: bool, scope: Scope, start: usize) -> Result<Token, Fault> {
        let mut name = String::new();
        loop {
            name.push_str(self.skip_while(is_name_part));
            if self.peek() != Some('"') {
                break;
            }
            name.push_str(&self.quoted_string()?);
        }
        if name.is_empty() {
            return Err(Fault::syntax(self.since(start), "expected the name of an attribute after the dot"));
        }
        Ok(Token::Attribute { parent, scope, name })
    }
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether `c` may stand in an attribute's name without quotes.
pub(super) fn is_name_part(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"{}()=~!<>&|^,\"`".contains(c)
}

#[cfg(test)]
mod tests;
