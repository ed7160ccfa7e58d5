#![allow(clippy::unwrap_used)]

use std::time::Duration;

use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::PageIndexPolicy;

use super::super::*;
use super::spans;
use super::world::{HOUR, World};

async fn bytes_of(world: &World, file: &DataFile) -> bytes::Bytes {
    world.objects.get(&file.object).await.unwrap().bytes().await.unwrap()
}

/// Rows of a file in the order they are in.
async fn rows_of(world: &World, file: &DataFile) -> arrow_array::RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes_of(world, file).await).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(|b| b.unwrap()).collect();
    arrow_select::concat::concat_batches(&schema, &batches).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_have_what_the_writers_files_have() {
    let mut world = World::new(CompactionConfig::default());
    world.write("default", spans(0..300, 0, 4)).await;
    world.write("default", spans(200..500, 0, 4)).await;
    let before = world.files(TableKind::Spans).await;
    world.advance(2 * HOUR);
    world.settle().await;
    let after = world.files(TableKind::Spans).await;
    let footer = async |file: &DataFile| {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let reader =
            ParquetRecordBatchReaderBuilder::try_new_with_options(bytes_of(&world, file).await, options);
        reader.unwrap().metadata().clone()
    };
    let (old, new) = (footer(&before[0]).await, footer(&after[0]).await);
    let schema = |f: &parquet::file::metadata::ParquetMetaData| f.file_metadata().schema().clone();
    assert_eq!(schema(&old), schema(&new));
    assert_eq!(old.file_metadata().created_by(), new.file_metadata().created_by());
    assert_eq!(old.row_group(0).sorting_columns(), new.row_group(0).sorting_columns());
    for (old, new) in old.row_group(0).columns().iter().zip(new.row_group(0).columns()) {
        let path = old.column_path();
        assert_eq!(old.compression(), new.compression(), "{path}");
        assert_eq!(old.bloom_filter_offset().is_some(), new.bloom_filter_offset().is_some(), "{path}");
        assert!(old.statistics().is_none() || new.statistics().is_some(), "{path}");
        assert!(new.offset_index_offset().is_some(), "{path}");
        assert_eq!(old.column_index_offset().is_some(), new.column_index_offset().is_some(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_the_order_that_the_writer_has() {
    let mut world = World::new(CompactionConfig::default());
    world.write("default", spans(0..40, 2, 5)).await;
    world.write("default", spans(20..60, 0, 3)).await;
    world.write("default", spans(10..50, 1, 6)).await;
    // The same spans by the writer alone.
    let mut alone = World::new(CompactionConfig::default());
    let all = world.expected.values().flat_map(|spans| spans.values().cloned()).collect();
    alone.write("default", all).await;
    world.advance(2 * HOUR);
    world.settle().await;
    let merged = rows_of(&world, &world.files(TableKind::Spans).await[0]).await;
    let written = rows_of(&alone, &alone.files(TableKind::Spans).await[0]).await;
    // Each file has a checksum of its own among the schema's metadata.
    assert_eq!(merged.columns(), written.columns());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_sorted_is_sorted_first() {
    let mut world = World::new(CompactionConfig::default());
    world.write("default", spans(0..100, 0, 4)).await;
    world.write("default", spans(50..150, 0, 5)).await;
    let file = world.files(TableKind::Spans).await[0].clone();
    let rows = rows_of(&world, &file).await;
    let backwards: Vec<(usize, usize)> = (0..rows.num_rows()).rev().map(|row| (0, row)).collect();
    let rows = arrow_select::interleave::interleave_record_batch(&[&rows], &backwards).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    let bytes = writer.into_inner().unwrap();
    // The log's size of it is no longer right: the reader goes by that, so it is kept by what pads the file.
    let mut log = None;
    for version in 1..3 {
        let path =
            object_store::path::Path::from(format!("table/default/spans/_delta_log/{version:020}.json"));
        let text = String::from_utf8(world.objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec())
            .unwrap();
        if text.contains(file.in_log.as_str()) {
            let sized =
                text.replace(&format!("\"size\":{}", file.bytes), &format!("\"size\":{}", bytes.len()));
            assert_ne!(text, sized);
            log = Some((path, sized));
        }
    }
    let (path, text) = log.unwrap();
    world.objects.put(&path, PutPayload::from(text.into_bytes())).await.unwrap();
    world.objects.put(&file.object, PutPayload::from(bytes)).await.unwrap();
    world.advance(2 * HOUR);
    assert_eq!(world.settle().await.files_out, 2);
    world.check_spans_once().await;
    world.check_ids(&world.reader(Duration::ZERO), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_left_alone_and_does_not_hold_up_the_others() {
    let mut world = World::new(CompactionConfig::default());
    world.write("default", spans(0..10, 0, 4)).await;
    world.write("default", spans(10..20, 0, 4)).await;
    world.write("errors", spans(20..30, 0, 4)).await;
    world.write("errors", spans(30..40, 0, 4)).await;
    let files = world.files(TableKind::Spans).await;
    let damaged = files.iter().find(|f| &*f.retention == "default").unwrap();
    let size = damaged.bytes as usize;
    world.objects.put(&damaged.object, PutPayload::from(vec![0; size])).await.unwrap();
    world.advance(2 * HOUR);
    let compactor = world.compactor(1);
    let (mut failed, mut done) = (0, 0);
    for _ in 0..3 {
        for unit in compactor.plan(&Tenant::default(), world.now()).await.unwrap() {
            match compactor.compact(&unit, Box::new(Unpaced)).await {
                Ok(_) => done += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Table, "{error}");
                    failed += 1;
                }
            }
        }
    }
    assert_eq!((failed, done), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_little_memory_fewer_files_are_merged_at_a_time() {
    let mut world = World::new(CompactionConfig { memory: 0, ..CompactionConfig::default() });
    for batch in 0..9 {
        world.write("default", spans(batch * 5..batch * 5 + 30, 0, 4)).await;
    }
    world.advance(2 * HOUR);
    assert!(world.settle().await.units > 2);
    world.check_spans_once().await;
    assert_eq!(world.files(TableKind::Spans).await.len(), 1);
}
