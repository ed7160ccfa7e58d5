#![allow(clippy::unwrap_used)]

use object_store::ObjectStoreExt;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

use super::*;
use crate::store::schema::{AttributeType, Layout, TableKind, WellKnownScope};
use crate::store::tests::fixtures::*;
use crate::store::values::append_text;
use crate::wire::KeyValueParts;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use prost::Message;

fn array(texts: &[&str]) -> Value {
    let one = |text: &&str| AnyValue { value: Some(Value::StringValue((*text).into())) };
    Value::ArrayValue(ArrayValue { values: texts.iter().map(one).collect() })
}

/// The footer of the only file of spans, with these attributes on the first span of ten.
async fn footer(attributes: &[(&str, Value)]) -> (Fixture, ParquetMetaData) {
    let fixture = Fixture::new();
    let store = fixture.store("one");
    let mut request = traces(0, 10, NOW);
    let first = &mut request.resource_spans[0].scope_spans[0].spans[0];
    for (key, value) in attributes {
        first.attributes.retain(|a| a.key != *key);
        first.attributes.push(attribute(key, value.clone()));
    }
    let records = MapRecords::of(&[request]);
    store.write(&records.batch(1, &verdict("all", "default")), &records).await.unwrap();
    let table = store.table(&crate::runtime::Tenant::default(), TableKind::Spans).unwrap();
    let files = store.live_files(&table).await.unwrap();
    let bytes = table.objects.get(&files[0].object).await.unwrap().bytes().await.unwrap();
    let footer = SerializedFileReader::new(bytes).unwrap().metadata().clone();
    (fixture, footer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_says_which_columns_lack_values() {
    let (_, plain) = footer(&[]).await;
    assert_eq!(OtherTypes::of(&plain), OtherTypes::default());
    let values = [
        ("http.route", array(&["/a"])),
        ("http.response.status_code", Value::DoubleValue(1e17)),
        ("url.path", Value::IntValue(7)),
        ("user.id", array(&["x"])),
    ];
    let (_, other) = footer(&values).await;
    let columns: Vec<_> = OtherTypes::of(&other).columns().collect();
    // A number never equals a text, and `user.id` has no column.
    assert_eq!(columns, ["http_route", "http_response_status_code"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_older_file_only_columns_without_nulls_are_relied_upon() {
    let (_, footer) = footer(&[("http.route", array(&["/a"]))]).await;
    let entries = footer.file_metadata().key_value_metadata().unwrap().clone();
    let others = entries.into_iter().filter(|kv| kv.key != OTHER_TYPES_KEY).collect();
    let of = footer.file_metadata();
    let file = parquet::file::metadata::FileMetaData::new(
        of.version(),
        of.num_rows(),
        None,
        Some(others),
        of.schema_descr_ptr(),
        None,
    );
    let older = ParquetMetaData::new(file, footer.row_groups().to_vec());
    let other = OtherTypes::of(&older);
    assert!(!other.has("service_name") && !other.has("http_response_status_code"));
    assert!(other.has("http_route") && other.has("url_path"));
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::IntValue),
        any::<f64>().prop_map(Value::DoubleValue),
        (53..64u32, any::<bool>()).prop_map(|(bits, is_less)| {
            let value = 2f64.powi(bits as i32);
            Value::DoubleValue(if is_less { value.next_down() } else { value })
        }),
        "[a-z0-9]{0,4}".prop_map(Value::StringValue),
        Just(array(&["a", "b"])),
    ]
}

proptest! {
    /// Compaction, which has texts, never forgets what the writer found in values.
    #[test]
    fn texts_tell_of_all_that_values_tell_of(value in values()) {
        let raw = attribute("key", value).encode_to_vec();
        let parts = KeyValueParts::parse(&raw).unwrap();
        let mut text = Vec::new();
        let Ok(kind) = append_text(&parts, &mut text) else { return Ok(()) };
        for column in [ColumnType::Text, ColumnType::Long] {
            let (of_value, of_text) = (is_elsewhere(column, parts.value), is_text_elsewhere(column, &text));
            prop_assert!(of_text || !of_value, "{:?}", String::from_utf8_lossy(&text));
            let is_told = matches!(kind, AttributeType::Double | AttributeType::Json);
            prop_assert!(of_value || !of_text || !is_told, "{:?}", String::from_utf8_lossy(&text));
        }
    }
}

#[test]
fn columns_that_were_added_are_not_noted() {
    let mut other = OtherTypes::default();
    other.note(WELL_KNOWN.len());
    assert_eq!(other, OtherTypes::default());
    let at = Layout::standard().position(WellKnownScope::Span, "http.route").unwrap();
    other.note(at);
    assert!(other.has("http_route") && !other.has("url_path"));
}
