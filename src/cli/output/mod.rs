//! What people see: aligned tables, the waterfall, durations and times in words.
//!
//! Everything here is a pure function to a `String`; only [`print()`] touches the terminal. Text that came from a
//! sender is always cleaned first ([`text::clean`]): a span's name must not be able to steer somebody's terminal.

pub mod details;
pub mod table;
pub mod text;
pub mod tree;
pub mod units;
pub mod waterfall;

use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};

/// Where the text goes: how wide it may be and whether it may have colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canvas {
    /// Columns available.
    pub width: usize,
    /// Whether ANSI colour is wanted.
    pub color: bool,
}

impl Canvas {
    /// Columns when standard output is not a terminal.
    pub const WIDTH_DEFAULT: usize = 120;
    /// Below this the layout is no longer squeezed; the terminal wraps it.
    pub const WIDTH_MIN: usize = 60;

    /// The canvas of standard output: a terminal's width; and colour as asked, by default on a terminal only and not with
    /// `NO_COLOR`.
    pub fn of_stdout(color: clap::ColorChoice) -> Self {
        let width = terminal_size::terminal_size_of(std::io::stdout())
            .map_or(Self::WIDTH_DEFAULT, |(columns, _)| usize::from(columns.0));
        let color = match color {
            clap::ColorChoice::Always => true,
            clap::ColorChoice::Never => false,
            clap::ColorChoice::Auto => {
                anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
            }
        };
        Self { width: width.max(Self::WIDTH_MIN), color }
    }

    /// `text` in `style` where colour is wanted, unchanged where not.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Errors, and bars of spans that failed.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Secondary facts: tree lines, ids, units.
pub const DIM: Style = Style::new().dimmed();
/// Headings.
pub const STRONG: Style = Style::new().bold();

const SERVICE_COLORS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Yellow,
    AnsiColor::Blue,
    AnsiColor::Magenta,
    AnsiColor::BrightCyan,
];

/// The colour of the n-th service of a trace. Red is left to errors.
pub fn service_style(index: usize) -> Style {
    SERVICE_COLORS[index % SERVICE_COLORS.len()].on_default()
}

/// Writes to standard output. A reader that went away (`| head`) is not an error.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
