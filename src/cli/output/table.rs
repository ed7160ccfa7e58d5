//! Aligned columns without lines: what `trace find` prints.

use anstyle::Style;

use super::{Canvas, STRONG, text};

/// One cell: its text (already clean) and how it looks.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A plain cell.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    /// A cell in a style.
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// How a column is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text: padded on the right.
    Left,
    /// Numbers: padded on the left.
    Right,
    /// Text of any length: padded on the right, and shortened first when the table is too wide.
    Shrink,
}

const GAP: &str = "  ";
const SHRINK_MIN: usize = 12;

/// Renders rows under a header. Columns are as wide as their widest cell; those that may shrink are cut until the table fits.
pub fn render(canvas: &Canvas, header: &[(&str, Align)], rows: &[Vec<Cell>]) -> String {
    let widths = column_widths(canvas.width, header, rows);
    let titles: Vec<Cell> = header.iter().map(|(title, _)| Cell::styled(*title, STRONG)).collect();
    let mut out = String::new();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let last = i + 1 == row.len();
            let padded = match header[i].1 {
                Align::Right => text::right(&cell.text, widths[i]),
                _ if last => text::truncate(&cell.text, widths[i]),
                _ => text::fit(&cell.text, widths[i]),
            };
            line.push_str(&canvas.paint(cell.style, &padded));
            if !last {
                line.push_str(GAP);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn column_widths(available: usize, header: &[(&str, Align)], rows: &[Vec<Cell>]) -> Vec<usize> {
    let mut widths: Vec<usize> = header.iter().map(|(title, _)| text::width(title)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(text::width(&cell.text));
        }
    }
    let total: usize = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
    let mut excess = total.saturating_sub(available);
    while excess > 0 {
        let widest = (0..widths.len())
            .filter(|&i| header[i].1 == Align::Shrink && widths[i] > SHRINK_MIN)
            .max_by_key(|&i| widths[i]);
        let Some(i) = widest else { break };
        widths[i] -= 1;
        excess -= 1;
    }
    widths
}
