//! `${NAME}` and `${NAME:-default}` in the configuration file. `$$` is a dollar sign.
//!
//! Values are put in as text before the YAML is read, so that a number stays a number. Comments are left alone.
//! Positions in errors are mapped back to what the person wrote.

use super::error::{ConfigError, Place};

/// A file's text with its variables filled in.
pub(super) struct Interpolated {
    /// What the YAML parser reads.
    pub(super) text: String,
    replaced: Vec<Replaced>,
}

/// One replacement. Columns are in characters and count from 1.
struct Replaced {
    line: usize,
    column_before: usize,
    width_before: usize,
    column_after: usize,
    width_after: usize,
}

impl Interpolated {
    /// Where a position of [`Self::text`] lies in the original.
    pub(super) fn original_column(&self, line: usize, column: usize) -> usize {
        let on_line = self.replaced.iter().filter(|r| r.line == line);
        match on_line.take_while(|r| r.column_after <= column).last() {
            None => column,
            Some(r) if column < r.column_after + r.width_after => r.column_before,
            Some(r) => column - (r.column_after + r.width_after) + r.column_before + r.width_before,
        }
    }
}

/// Fills in the variables of a file. `env` looks a variable up.
pub(super) fn interpolate(
    file: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Interpolated, ConfigError> {
    let mut filled = Interpolated { text: String::with_capacity(text.len()), replaced: Vec::new() };
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let (content, comment) = line.split_at(comment_start(line));
        interpolate_line(file, index + 1, content, env, &mut filled)?;
        filled.text.push_str(comment);
    }
    Ok(filled)
}

fn interpolate_line(
    file: &str,
    line: usize,
    content: &str,
    env: &dyn Fn(&str) -> Option<String>,
    filled: &mut Interpolated,
) -> Result<(), ConfigError> {
    let line_start = filled.text.len();
    let mut rest = content;
    while let Some(at) = rest.find('$') {
        filled.text.push_str(&rest[..at]);
        let column_before = width(&content[..content.len() - rest.len() + at]) + 1;
        let column_after = width(&filled.text[line_start..]) + 1;
        rest = &rest[at..];
        let taken = if rest.starts_with("$$") {
            filled.text.push('$');
            2
        } else if let Some(inner) = rest.strip_prefix("${") {
            let place = Place { file: file.into(), line, column: column_before };
            let Some(end) = inner.find('}') else {
                return Err(ConfigError::Syntax { place, message: "`${` is never closed by `}`".into() });
            };
            filled.text.push_str(&value_of(place, &inner[..end], env)?);
            end + 3
        } else {
            filled.text.push('$');
            rest = &rest[1..];
            continue;
        };
        filled.replaced.push(Replaced {
            line,
            column_before,
            width_before: width(&rest[..taken]),
            column_after,
            width_after: width(&filled.text[line_start..]) + 1 - column_after,
        });
        rest = &rest[taken..];
    }
    filled.text.push_str(rest);
    Ok(())
}

/// The value of what stands between the braces. A default counts when the variable is unset or empty.
fn value_of(place: Place, inner: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || !name.bytes().all(is_name) || name.as_bytes()[0].is_ascii_digit() {
        let message = format!("`{name}` is not the name of an environment variable");
        return Err(ConfigError::Syntax { place, message });
    }
    let value = match (env(name), default) {
        (Some(value), None) => value,
        (Some(value), Some(_)) if !value.is_empty() => value,
        (_, Some(default)) => default.to_owned(),
        (None, None) => return Err(ConfigError::Unset { place, name: name.into() }),
    };
    if value.contains(['\n', '\r']) {
        let message = format!("the environment variable {name} holds a line break");
        return Err(ConfigError::Syntax { place, message });
    }
    Ok(value)
}

/// Where a line's comment begins; its length if it has none. A `#` inside quotes is none.
fn comment_start(line: &str) -> usize {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open && before != '\\' => quote = None,
            Some(_) => {}
            None if c == '#' && before.is_whitespace() => return at,
            None if matches!(c, '"' | '\'') && (before.is_whitespace() || "[{,:(".contains(before)) => {
                quote = Some(c);
            }
            None => {}
        }
        before = c;
    }
    line.len()
}

fn width(text: &str) -> usize {
    text.chars().count()
}
