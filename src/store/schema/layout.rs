//! The columns that one table's files have: those of every table, and those that somebody added for attributes of their own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::SchemaRef;
use parking_lot::Mutex;

use super::{
    Column, ColumnType, TableKind, WELL_KNOWN, WellKnown, WellKnownScope, arrow_schema, optional,
    span_columns,
};
use crate::store::error::{ErrorKind, StoreError};

/// Where the metadata of an added column says which attribute it holds: `span.KEY` or `resource.KEY`.
pub(in crate::store) const ATTRIBUTE_METADATA: &str = "tracewell.attribute";

/// Columns that can be added to a table.
pub const ADDED_MAX: usize = 64;
/// Different sets of added columns that a process can know; tables beyond are written without their added columns.
const LAYOUTS_MAX: usize = 1024;

/// A column for an attribute that has none in every table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AddedColumn {
    /// The attribute, `span.KEY` or `resource.KEY`.
    attribute: String,
    is_long: bool,
}

impl AddedColumn {
    /// A column for this attribute, `span.KEY` or `resource.KEY`, of type `text` or `long`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where there can be no such column.
    pub fn new(attribute: &str, kind: &str) -> Result<Self, StoreError> {
        let wrong = |why| StoreError::new(ErrorKind::Configuration, format!("store.columns: {why}"));
        Self::checked(attribute, kind).map_err(wrong)
    }

    fn checked(attribute: &str, kind: &str) -> Result<Self, String> {
        let is_long = match kind {
            "text" => false,
            "long" => true,
            other => return Err(format!("`{other}` is no type of a column: write text or long")),
        };
        let added = Self { attribute: attribute.to_owned(), is_long };
        let Some((scope, key)) = added.parts() else {
            return Err(format!("`{attribute}` is no attribute such as span.user.id or resource.team"));
        };
        if scope == WellKnownScope::Resource && is_long {
            return Err("a column of a resource's attribute is text".to_owned());
        }
        if super::well_known(scope, key).is_some() {
            return Err(format!("{attribute} has a column already"));
        }
        if TableKind::Spans.columns().iter().any(|c| c.name.eq_ignore_ascii_case(&added.column())) {
            return Err(format!("there is another column named {}", added.column()));
        }
        Ok(added)
    }

    fn parts(&self) -> Option<(WellKnownScope, &str)> {
        let (scope, key) = self.attribute.split_once('.').filter(|(_, key)| !key.is_empty())?;
        match scope {
            "span" => Some((WellKnownScope::Span, key)),
            "resource" => Some((WellKnownScope::Resource, key)),
            _ => None,
        }
    }

    /// Its name: the key, with `_` for whatever SQL would want quoted.
    pub fn column(&self) -> String {
        let key = self.parts().map_or("", |(_, key)| key);
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        key.chars().map(plain).collect()
    }

    /// The attribute, `span.KEY` or `resource.KEY`.
    pub fn attribute(&self) -> &str {
        &self.attribute
    }

    /// Its type.
    pub fn kind(&self) -> ColumnType {
        if self.is_long { ColumnType::Long } else { ColumnType::Text }
    }
}

/// The columns of a table's files.
#[derive(Debug)]
pub struct Layout {
    added: Vec<AddedColumn>,
    well_known: Vec<WellKnown>,
    by_key: HashMap<(WellKnownScope, &'static str), usize, foldhash::fast::RandomState>,
    spans: Vec<Column>,
    spans_arrow: SchemaRef,
}

impl Layout {
    /// Of a table to which nothing was added.
    pub fn standard() -> &'static Self {
        static STANDARD: LazyLock<Layout> = LazyLock::new(|| Layout::build(Vec::new()));
        &STANDARD
    }

    /// Of a table with these columns beside the standard ones. The same columns have the same layout, which lives as long as
    /// the process: there are as many as there are different tables, and names of columns are handed around everywhere.
    pub fn with(mut added: Vec<AddedColumn>) -> &'static Self {
        static KNOWN: Mutex<Vec<&'static Layout>> = Mutex::new(Vec::new());
        added.sort();
        added.dedup_by_key(|added| added.column());
        added.truncate(ADDED_MAX);
        if added.is_empty() {
            return Self::standard();
        }
        let mut known = KNOWN.lock();
        if let Some(layout) = known.iter().find(|layout| layout.added == added) {
            return layout;
        }
        if known.len() >= LAYOUTS_MAX {
            return Self::standard();
        }
        let layout: &'static Self = Box::leak(Box::new(Self::build(added)));
        known.push(layout);
        layout
    }

    fn build(added: Vec<AddedColumn>) -> Self {
        let extra = added.iter().filter_map(|added| {
            let (scope, key) = added.parts()?;
            let (key, column) = (&*key.to_owned().leak(), &*added.column().leak());
            Some(WellKnown { key, column, scope, kind: added.kind() })
        });
        let well_known: Vec<WellKnown> = WELL_KNOWN.iter().copied().chain(extra).collect();
        let by_key = well_known.iter().enumerate().map(|(at, w)| ((w.scope, w.key), at)).collect();
        let typed = well_known.iter().filter(|w| w.column != "service_name");
        let spans = span_columns(typed.map(|w| optional(w.column, w.kind)));
        let spans_arrow = Arc::new(arrow_schema(&spans));
        Self { added, well_known, by_key, spans, spans_arrow }
    }

    /// What was added.
    pub fn added(&self) -> &[AddedColumn] {
        &self.added
    }

    /// The attributes with a column of their own: the standard ones first, see [`WELL_KNOWN`].
    pub fn well_known(&self) -> &[WellKnown] {
        &self.well_known
    }

    /// Where in [`Self::well_known`] an attribute is.
    pub fn position(&self, scope: WellKnownScope, key: &str) -> Option<usize> {
        self.by_key.get(&(scope, key)).copied()
    }

    /// The columns of a table's files, in order.
    pub fn columns(&self, kind: TableKind) -> &[Column] {
        match kind {
            TableKind::Spans => &self.spans,
            TableKind::Traces => kind.columns(),
        }
    }

    /// The Arrow schema of a table's files.
    pub fn arrow(&self, kind: TableKind) -> &SchemaRef {
        match kind {
            TableKind::Spans => &self.spans_arrow,
            TableKind::Traces => kind.arrow(),
        }
    }
}
