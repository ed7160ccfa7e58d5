//! The rows of one trace in a file: which pages hold them, read in one go.

use std::ops::Range;

use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

/// Where the rows of a trace are.
pub(super) struct Place {
    /// Rows of the row groups, one after the other.
    pub(super) rows: RowSelection,
    /// The bytes of all columns' pages that hold them.
    pub(super) bytes: Vec<Range<u64>>,
}

/// Where in these row groups the rows of a trace (given in hexadecimal) may be; `None` if the file has no page index.
pub(super) fn place(metadata: &ParquetMetaData, row_groups: &[usize], trace_id: &str) -> Option<Place> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let column = columns.iter().position(|c| c.path().string() == "trace_id")?;
    let (mut selectors, mut bytes) = (Vec::new(), Vec::new());
    for group in row_groups {
        let rows = rows_of(metadata, *group)?;
        let wanted = pages_with(metadata, *group, column, trace_id)?;
        selectors.extend([
            RowSelector::skip(wanted.start),
            RowSelector::select(wanted.len()),
            RowSelector::skip(rows - wanted.end),
        ]);
        for column in 0..columns.len() {
            push_pages(metadata, *group, column, &wanted, &mut bytes)?;
        }
    }
    Some(Place { rows: RowSelection::from(selectors), bytes })
}

fn rows_of(metadata: &ParquetMetaData, group: usize) -> Option<usize> {
    usize::try_from(metadata.row_groups().get(group)?.num_rows()).ok()
}

/// The rows of the pages whose bounds admit the trace. Rows are sorted by trace, so these follow each other.
fn pages_with(
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
    trace_id: &str,
) -> Option<Range<usize>> {
    let of_group = metadata.page_index_for_row_group(group);
    let Some(ColumnIndexMetaData::BYTE_ARRAY(index)) = of_group.column_index(column) else { return None };
    let pages = of_group.page_locations(column)?;
    if index.num_pages() != pages.len() as u64 {
        return None;
    }
    let admits = |page: &usize| {
        let above = index.min_value(*page).is_none_or(|min| min <= trace_id.as_bytes());
        above && index.max_value(*page).is_none_or(|max| trace_id.as_bytes() <= max)
    };
    let first_row = |page: usize| pages.get(page).map(|p| usize::try_from(p.first_row_index).unwrap_or(0));
    let mut admitted = (0..pages.len()).filter(admits);
    let Some(first) = admitted.next() else { return Some(0..0) };
    let last = admitted.next_back().unwrap_or(first);
    let rows = rows_of(metadata, group)?;
    let (begin, end) = (first_row(first)?, first_row(last + 1).unwrap_or(rows));
    (begin <= end && end <= rows).then_some(begin..end)
}

/// Where the pages of a column are that hold these rows, its dictionary before them.
fn push_pages(
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
    rows: &Range<usize>,
    out: &mut Vec<Range<u64>>,
) -> Option<()> {
    let all = rows_of(metadata, group)?;
    let of_group = metadata.page_index_for_row_group(group);
    let pages = of_group.page_locations(column)?;
    let (begin, length) = metadata.row_groups().get(group)?.columns().get(column)?.byte_range();
    let first_row =
        |page: usize| pages.get(page).map_or(all, |p| usize::try_from(p.first_row_index).unwrap_or(0));
    let wanted =
        (0..pages.len()).filter(|page| first_row(*page) < rows.end && rows.start < first_row(page + 1));
    let offset = |page: usize| u64::try_from(pages[page].offset).ok();
    let mut is_any = false;
    for page in wanted {
        let start = offset(page)?;
        out.push(start..start + u64::try_from(pages[page].compressed_page_size).ok()?);
        is_any = true;
    }
    if let Some(first) = pages.first().filter(|_| is_any) {
        out.push(begin..u64::try_from(first.offset).ok()?.clamp(begin, begin + length));
    }
    Some(())
}
