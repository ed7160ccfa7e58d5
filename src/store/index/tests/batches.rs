//! The index made from rows is the one that the writer makes.

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::counting::Counting;
use crate::runtime::Tenant;
use crate::store::index::build::{Indexed, encode};
use crate::store::index::{RowsIndex, format::Trailer};
use crate::store::tests::fixtures::*;
use crate::store::{Projection, Reader, ReaderConfig, ScanRequest, Store, StoreConfig};

#[tokio::test(flavor = "multi_thread")]
async fn rows_give_the_run_that_the_writer_made() {
    let objects = Counting::default();
    let store = Store::open(StoreConfig::new(objects.location(), "a"), TestClock::new()).unwrap();
    let records = MapRecords::of(&[traces(0, 300, NOW)]);
    store.write(&records.batch(1, &verdict("all", "default")), &records).await.unwrap();
    let written = objects.objects(".idx").await.remove(0);
    let written = objects.inner.get(&written.location).await.unwrap().bytes().await.unwrap();
    let data = objects.objects(".parquet").await;
    let data = data.iter().find(|o| o.location.as_ref().contains("/spans/")).unwrap();
    let content = objects.inner.get(&data.location).await.unwrap().bytes().await.unwrap();
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&content).unwrap();

    let reader = Reader::new(objects.location(), TestClock::new(), ReaderConfig::default());
    let request = ScanRequest { start_unix_nano: 0..u64::MAX, projection: Projection::All, hints: vec![] };
    let rows: Vec<_> = reader.scan(&Tenant::default(), request).await.unwrap().try_collect().await.unwrap();
    let mut index = RowsIndex::new(&Tenant::default());
    rows.iter().for_each(|rows| index.add(rows.batch()));
    index.end_group(metadata.row_group(0).compressed_size() as usize);
    let index = index.finish();
    let in_log = data.location.as_ref().split_once("/spans/").unwrap().1.to_owned();
    let run = encode(&[Indexed { in_log, bytes: data.size, index: &index }]).unwrap();
    assert!(Trailer::read(&written, written.len() as u64).is_some());
    assert!(run.bytes == written, "the runs differ");
}
