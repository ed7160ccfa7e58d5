//! What leaves write is read back by the Parquet library.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{ByteArrayType, DataType, Int64Type};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A file with this one column, of so many rows.
fn file(schema: &str, column: Flat, rows: u32, press: &mut Press) -> (Bytes, Finished) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let finished = column.finish(rows, writer.schema_descr().column(0), press).unwrap();
    let mut group = writer.next_row_group().unwrap();
    group.append_column(&finished.bytes, finished.close.clone()).unwrap();
    group.close().unwrap();
    (writer.into_inner().unwrap().into(), finished)
}

fn reader(bytes: Bytes) -> SerializedFileReader<Bytes> {
    let options = ReadOptionsBuilder::new().with_page_index().build();
    SerializedFileReader::new_with_options(bytes, options).unwrap()
}

/// Definition levels and values of the only column.
fn read<T: DataType>(bytes: Bytes) -> (Vec<i16>, Vec<T::T>) {
    let group = reader(bytes);
    let group = group.get_row_group(0).unwrap();
    let column: ColumnReader = group.get_column_reader(0).unwrap();
    let mut column = get_typed_column_reader::<T>(column);
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    column.read_records(usize::MAX >> 1, Some(&mut levels), None, &mut values).unwrap();
    (levels, values)
}

fn texts(values: Vec<parquet::data_type::ByteArray>) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.data().to_vec()).collect()
}

type Texts = Vec<Vec<u8>>;

/// Runs of texts and nulls, with a page's end every `page` runs: what was put row by row, and what is read: definition levels,
/// values, what the chunk says of itself.
fn there_and_back(
    leaf: Leaf,
    runs: &[(Option<String>, u32)],
    page: u32,
) -> (Vec<Option<Vec<u8>>>, Vec<i16>, Texts, Finished) {
    let mut press = Press::new().unwrap();
    let mut column = Flat::optional(leaf);
    let (mut row, mut sent) = (0, Vec::new());
    for (at, (text, times)) in runs.iter().enumerate() {
        if let Some(text) = text {
            column.put(row, text.as_bytes(), *times);
        }
        row += times;
        sent.extend(std::iter::repeat_n(text.clone().map(String::into_bytes), *times as usize));
        if (at as u32).is_multiple_of(page) {
            column.end_page(row, &mut press).unwrap();
        }
    }
    let (bytes, finished) = file(OPTIONAL_TEXT, column, row, &mut press);
    let (levels, values) = read::<ByteArrayType>(bytes);
    (sent, levels, texts(values), finished)
}

const TEXT: &str = "message m { REQUIRED BYTE_ARRAY t (STRING); }";
const OPTIONAL_TEXT: &str = "message m { OPTIONAL BYTE_ARRAY t (STRING); }";
const LONG: &str = "message m { REQUIRED INT64 n; }";

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn texts_and_nulls_come_back(
        runs in vec((proptest::option::of("[a-c]{0,2}"), 1u32..30), 1..60), page in 1u32..40,
    ) {
        let (sent, levels, values, finished) = there_and_back(Leaf::texts(), &runs, page);
        prop_assert_eq!(levels, sent.iter().map(|text| i16::from(text.is_some())).collect::<Vec<_>>());
        let present: Vec<_> = sent.iter().flatten().cloned().collect();
        prop_assert_eq!(finished.nulls, (sent.len() - present.len()) as u64);
        let bounds = finished.bounds.map(|b| (b.min, b.max));
        prop_assert_eq!(bounds, present.iter().min().cloned().zip(present.iter().max().cloned()));
        prop_assert_eq!(values, present);
    }

    #[test]
    fn longs_that_differ_come_back(
        pages in vec(vec(prop_oneof![any::<i64>(), 0i64..1_000, Just(i64::MIN), Just(i64::MAX)], 1..400), 1..3),
    ) {
        let mut press = Press::new().unwrap();
        let mut column = Flat::required(Leaf::unique_longs(true));
        let mut row = 0;
        for page in &pages {
            for value in page {
                column.put_long(row, *value);
                row += 1;
            }
            column.end_page(row, &mut press).unwrap();
        }
        let (bytes, _) = file(LONG, column, row, &mut press);
        let file = reader(bytes.clone());
        let statistics = file.metadata().row_group(0).column(0).statistics().unwrap().clone();
        let sent: Vec<i64> = pages.concat();
        prop_assert_eq!(read::<Int64Type>(bytes).1, sent.clone());
        let min = sent.iter().min().unwrap().to_le_bytes();
        prop_assert_eq!(statistics.min_bytes_opt(), Some(&min[..]));
        prop_assert_eq!(file.metadata().page_index_for_row_group(0).num_data_pages(0), Some(pages.len()));
    }

    #[test]
    fn ids_of_any_length_and_nulls_come_back(
        runs in vec((proptest::option::of("[0-9a-f]{16}|[0-9a-f]{0,40}"), 1u32..3), 1..400), page in 1u32..200,
    ) {
        let (sent, levels, values, _) = there_and_back(Leaf::ids(), &runs, page);
        prop_assert_eq!(levels, sent.iter().map(|text| i16::from(text.is_some())).collect::<Vec<_>>());
        prop_assert_eq!(values, sent.iter().flatten().cloned().collect::<Vec<_>>());
    }

    #[test]
    fn rows_of_lists_begin_with_a_zero(rows in vec(0u32..100, 1..50)) {
        let (mut bits, mut runs) = (RowBits::default(), Runs::default());
        for items in &rows {
            bits.push_row(*items);
            runs.push(0, 1);
            runs.push(1, items.max(&1) - 1);
        }
        prop_assert_eq!(bits.len(), runs.len());
        let expected: Vec<u32> = runs.iter().flat_map(|(v, n)| std::iter::repeat_n(v, n as usize)).collect();
        let (mut of_bits, mut of_runs) = (Vec::new(), Vec::new());
        bits.encode(&mut of_bits);
        runs.encode(1, &mut of_runs);
        prop_assert_eq!(decoded(&of_bits, 1, expected.len()), expected.clone());
        prop_assert_eq!(decoded(&of_runs, 1, expected.len()), expected);
    }

    #[test]
    fn runs_of_any_width_decode(runs in vec((any::<u32>(), 1u32..20), 1..50), width in 1u32..=32) {
        let mut sent = Runs::default();
        runs.iter().for_each(|(value, times)| sent.push(value >> (32 - width), *times));
        let mut out = Vec::new();
        sent.encode(width, &mut out);
        let values = sent.iter().flat_map(|(v, n)| std::iter::repeat_n(v, n as usize));
        let values: Vec<u32> = values.collect();
        prop_assert_eq!(decoded(&out, width, values.len()), values);
    }
}

/// The RLE hybrid, as the format's description has it.
fn decoded(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
    let mut values = Vec::new();
    while values.len() < count {
        let (mut header, mut shift) = (0u64, 0);
        while let [byte, rest @ ..] = bytes {
            header |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            bytes = rest;
            if *byte < 0x80 {
                break;
            }
        }
        if header & 1 == 0 {
            let (value, rest) = bytes.split_at(width.div_ceil(8) as usize);
            let value = value.iter().rev().fold(0u32, |all, byte| all << 8 | u32::from(*byte));
            values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
            bytes = rest;
        } else {
            let (packed, rest) = bytes.split_at((header >> 1) as usize * width as usize);
            let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
            for value in 0..(header >> 1) as usize * 8 {
                let at = value * width as usize;
                values.push((0..width as usize).fold(0, |all, n| all | bit(at + n) << n));
            }
            bytes = rest;
        }
    }
    values.truncate(count);
    values
}

#[test]
fn a_dictionary_that_does_not_pay_is_given_up() {
    let mut press = Press::new().unwrap();
    let mut column = Flat::required(Leaf::sorted_texts(Sbbf::new_with_ndv_fpp(20_000, 0.01).unwrap()));
    let text = |row: u32| format!("{row:08}").into_bytes();
    const ROWS: u32 = 20_000;
    for row in 0..ROWS {
        column.put(row, &text(row), 1);
        if row % 1_000 == 999 {
            column.end_page(row + 1, &mut press).unwrap();
        }
    }
    let (bytes, finished) = file(TEXT, column, ROWS, &mut press);
    let encodings: Vec<_> = finished.close.metadata.encodings().collect();
    assert!(encodings.contains(&Encoding::RLE_DICTIONARY) && encodings.contains(&Encoding::PLAIN));
    let filter = finished.close.bloom_filter.unwrap();
    assert!((0..ROWS).all(|row| filter.check(&text(row)[..])));
    assert_eq!(finished.bounds, Some(Bounds { min: text(0), max: text(ROWS - 1) }));
    let index = reader(bytes.clone());
    let index = index.metadata().page_index_for_row_group(0);
    assert_eq!(index.column_index(0).unwrap().num_pages(), 20);
    assert_eq!(texts(read::<ByteArrayType>(bytes).1), (0..ROWS).map(text).collect::<Vec<_>>());
}

#[test]
fn long_texts_are_no_bounds_in_the_footer() {
    let mut press = Press::new().unwrap();
    let mut column = Flat::required(Leaf::texts());
    column.put(0, &[b'x'; BOUND_BYTES_MAX + 1], 1);
    let (_, finished) = file(TEXT, column, 1, &mut press);
    let statistics = finished.close.metadata.statistics().unwrap();
    assert_eq!((statistics.min_bytes_opt(), statistics.null_count_opt()), (None, Some(0)));
}
