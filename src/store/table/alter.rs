//! Columns that a table has beside those of every table: read from its schema, added to it.

use std::sync::Arc;

use delta_kernel::SnapshotRef;
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::schema::{DataType, MetadataValue, StructField};
use delta_kernel::transaction::UpdateTableOperation;

use super::{ENGINE_INFO, Table};
use crate::store::error::StoreError;
use crate::store::schema::{ADDED_MAX, ATTRIBUTE_METADATA, AddedColumn, ColumnType, Layout, TableKind};

impl Table {
    /// The columns of the table's files, as its newest version has them. Blocks.
    pub(in crate::store) fn layout(&self) -> Result<&'static Layout, StoreError> {
        Ok(self.refresh()?.map_or_else(Layout::standard, |snapshot| self.layout_at(&snapshot)))
    }

    fn layout_at(&self, snapshot: &SnapshotRef) -> &'static Layout {
        if self.kind != TableKind::Spans {
            return Layout::standard();
        }
        let schema = snapshot.schema();
        Layout::with(schema.fields().filter_map(added_column).collect())
    }

    /// The columns to write with, right after the table was looked at: only where some of `wanted` are not there it is looked at
    /// again, and gets them. Blocks.
    pub(in crate::store) fn layout_with(
        &self,
        wanted: &[AddedColumn],
    ) -> Result<&'static Layout, StoreError> {
        let seen = self.latest.lock().as_ref().map(|snapshot| self.layout_at(snapshot));
        match seen {
            Some(layout) if wanted.iter().all(|column| layout.added().contains(column)) => Ok(layout),
            _ => self.ensure_columns(wanted),
        }
    }

    /// Adds those of these columns to the table that it lacks; gives the columns that it has then. A column whose name is taken
    /// is left out, and said so. Blocks.
    fn ensure_columns(&self, wanted: &[AddedColumn]) -> Result<&'static Layout, StoreError> {
        let mut layout = Layout::standard();
        let done = self.transact(|snapshot| {
            layout = self.layout_at(snapshot);
            let taken = |column: &AddedColumn| {
                let name = column.column();
                snapshot.schema().fields().any(|field| field.name().eq_ignore_ascii_case(&name))
            };
            let room = ADDED_MAX.saturating_sub(layout.added().len());
            let missing: Vec<_> = wanted.iter().filter(|column| !taken(column)).take(room).collect();
            if missing.is_empty() {
                return Ok(None);
            }
            let mut builder =
                Arc::clone(snapshot).update_table(UpdateTableOperation::AlterTable, ENGINE_INFO, false);
            for column in missing {
                tracing::info!(table = %self.url, column = column.column(), "adds a column to the table");
                builder = builder.add_column(field_of(column));
            }
            let txn = builder.build(self.engine.as_ref(), Box::new(FileSystemCommitter));
            Ok(Some(txn.map_err(|e| StoreError::of_kernel("cannot add columns", e))?))
        })?;
        match done {
            Some(_) => self.layout(),
            None => Ok(layout),
        }
    }
}

fn field_of(column: &AddedColumn) -> StructField {
    let kind = if column.kind() == ColumnType::Long { DataType::LONG } else { DataType::STRING };
    let attribute = MetadataValue::String(column.attribute().to_owned());
    StructField::nullable(column.column(), kind).with_metadata([(ATTRIBUTE_METADATA, attribute)])
}

/// What somebody added; `None` for a column of every table, and for one that another program added.
fn added_column(field: &StructField) -> Option<AddedColumn> {
    let Some(MetadataValue::String(attribute)) = field.metadata().get(ATTRIBUTE_METADATA) else {
        return None;
    };
    let kind = if *field.data_type() == DataType::LONG { "long" } else { "text" };
    AddedColumn::new(attribute, kind).ok().filter(|added| added.column() == *field.name())
}
