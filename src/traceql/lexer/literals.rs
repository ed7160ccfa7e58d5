//! Strings, numbers and durations.

use super::{Lexer, Token, is_word_part};
use crate::traceql::ast::SourceSpan;
use crate::traceql::error::Fault;

/// Units of a duration, in nanoseconds. Both micro signs of Unicode count.
pub(in crate::traceql) const UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
];

impl<'a> Lexer<'a> {
    /// A `"…"` string with the escapes of Go, on one line.
    pub(super) fn quoted_string(&mut self) -> Result<String, Fault> {
        let start = self.offset;
        self.offset += 1;
        let mut bytes = Vec::new();
        loop {
            let plain = self.skip_while(|c| !matches!(c, '"' | '\\' | '\n'));
            bytes.extend_from_slice(plain.as_bytes());
            match self.peek() {
                Some('"') => {
                    self.offset += 1;
                    break;
                }
                Some('\\') => self.escape(&mut bytes)?,
                _ => return Err(Fault::syntax(self.since(start), "this string is not closed")),
            }
        }
        String::from_utf8(bytes).map_err(|_| Fault::syntax(self.since(start), "this string is not UTF-8"))
    }

    /// One escape, from its backslash on; `\x` and octal ones give bytes, the others characters.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = self.offset;
        self.offset += 1;
        let letter = self.peek();
        self.offset += letter.map_or(0, char::len_utf8);
        let simple = match letter {
            Some('a') => 0x07,
            Some('b') => 0x08,
            Some('f') => 0x0c,
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('v') => 0x0b,
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('x') => return self.coded(start, 2, 16, out),
            Some('u') => return self.coded(start, 4, 16, out),
            Some('U') => return self.coded(start, 8, 16, out),
            Some('0'..='7') => {
                self.offset -= 1;
                return self.coded(start, 3, 8, out);
            }
            _ => return Err(Fault::syntax(self.since(start), "there is no such escape in a string")),
        };
        out.push(simple);
        Ok(())
    }

    /// The digits of `\xHH`, `\ooo` (a byte) or `\uHHHH`, `\UHHHHHHHH` (a character).
    fn coded(&mut self, start: usize, digits: usize, radix: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        let text = self.rest().get(..digits).filter(|text| text.chars().all(|c| c.is_digit(radix)));
        let code = text.and_then(|text| u32::from_str_radix(text, radix).ok());
        self.offset += text.map_or(0, str::len);
        let is_byte = digits < 4;
        let done = match code {
            Some(code) if is_byte => u8::try_from(code).map(|byte| out.push(byte)).is_ok(),
            Some(code) => char::from_u32(code)
                .map(|c| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()))
                .is_some(),
            None => false,
        };
        if done { Ok(()) } else { Err(Fault::syntax(self.since(start), "this escape names no character")) }
    }

    /// A backquoted string: as it stands, over several lines if need be. Carriage returns fall out, as in Go.
    pub(super) fn raw_string(&mut self) -> Result<String, Fault> {
        let start = self.offset;
        self.offset += 1;
        let text = self.skip_while(|c| c != '`');
        if self.take("`") {
            return Ok(text.replace('\r', ""));
        }
        Err(Fault::syntax(self.since(start), "this string is not closed"))
    }

    /// An integer, a float, or a duration such as `1h30m` or `1.5s`.
    pub(super) fn number(&mut self) -> Result<Token, Fault> {
        let start = self.offset;
        let text = self.numeral();
        if self.peek().is_some_and(is_unit_part) {
            return self.duration(start, text);
        }
        let fault = |message| Fault::syntax(SourceSpan::new(start, start + text.len()), message);
        if text.contains(['.', 'e', 'E']) {
            let value: f64 = text.parse().map_err(|_| fault("this is not a number"))?;
            return if value.is_finite() {
                Ok(Token::Float(value))
            } else {
                Err(fault("this number is too large"))
            };
        }
        text.parse().map(Token::Int).map_err(|_| fault("this integer is too large"))
    }

    /// Digits with an optional fraction and exponent.
    fn numeral(&mut self) -> &'a str {
        let source = self.source;
        let start = self.offset;
        self.skip_while(|c| c.is_ascii_digit());
        // A dot without a digit after it starts nothing: `1.` is refused as `1` and an empty attribute name.
        if self.rest().strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            self.offset += 1;
            self.skip_while(|c| c.is_ascii_digit());
        }
        if let Some(exponent) = self.rest().strip_prefix(['e', 'E']) {
            let signed = exponent.strip_prefix(['+', '-']);
            if signed.unwrap_or(exponent).starts_with(|c: char| c.is_ascii_digit()) {
                self.offset += if signed.is_some() { 2 } else { 1 };
                self.skip_while(|c| c.is_ascii_digit());
            }
        }
        &source[start..self.offset]
    }

    /// The units after the first number, and further pairs of number and unit.
    fn duration(&mut self, start: usize, first: &str) -> Result<Token, Fault> {
        let mut number = first.to_owned();
        let mut total: u64 = 0;
        loop {
            let unit_start = self.offset;
            let unit = self.skip_while(is_unit_part);
            let nanos = UNITS.iter().find(|entry| entry.0 == unit).ok_or_else(|| {
                Fault::syntax(self.since(unit_start), "expected a unit: ns, us, µs, ms, s, m, h or d")
            })?;
            total = scale(&number, nanos.1)
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= i64::MAX as u64)
                .ok_or_else(|| Fault::syntax(self.since(start), "this duration is too long"))?;
            if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
                break;
            }
            number = self.numeral().to_owned();
        }
        match self.peek() {
            Some(c) if is_word_part(c) => Err(Fault::syntax(self.since(start), "this is not a duration")),
            _ => Ok(Token::Duration(total)),
        }
    }
}

fn is_unit_part(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '\u{b5}' | '\u{3bc}')
}

/// `number` units of `nanos` each; whole numbers stay exact.
fn scale(number: &str, nanos: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(nanos);
    }
    let value = number.parse::<f64>().ok()? * nanos as f64;
    (value < i64::MAX as f64).then_some(value.round() as u64)
}
