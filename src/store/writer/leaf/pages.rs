//! The pages of one column chunk: compressed as they end, put together with the dictionary at the chunk's end.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

/// Level 1: level 3 takes off a tenth of the bytes for half as much time again.
const ZSTD_LEVEL: i32 = 1;

/// Compressors and buffers that all columns of a file share.
pub(in crate::store::writer) struct Press {
    zstd: zstd::bulk::Compressor<'static>,
    packed: Vec<u8>,
    /// A page's bytes before compression.
    pub(super) page: Vec<u8>,
}

impl Press {
    pub(in crate::store::writer) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(ZSTD_LEVEL)?, packed: Vec::new(), page: Vec::new() })
    }

    fn compress(&mut self, raw: &[u8]) -> std::io::Result<Bytes> {
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.zstd.compress_to_buffer(raw, &mut self.packed)?;
        Ok(Bytes::copy_from_slice(&self.packed))
    }
}

/// Smallest and largest value of a page or chunk, as Parquet's plain encoding has them without a length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store::writer) struct Bounds {
    pub(in crate::store::writer) min: Vec<u8>,
    pub(in crate::store::writer) max: Vec<u8>,
}

/// What is known of a page's values beside their bytes.
pub(super) struct PageFacts {
    pub(super) encoding: Encoding,
    /// Levels, or values where there are no levels.
    pub(super) count: usize,
    pub(super) nulls: usize,
    pub(super) rows: u32,
    pub(super) bounds: Option<Bounds>,
}

/// How a chunk is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store::writer) enum Codec {
    Zstd,
    /// For what no compressor makes shorter.
    Plain,
}

/// Pages of a chunk so far.
pub(super) struct Pages {
    sink: TrackedWrite<Vec<u8>>,
    codec: Codec,
    offsets: OffsetIndexBuilder,
    index: Option<ColumnIndexBuilder>,
    encodings: Vec<Encoding>,
    count: i64,
    nulls: u64,
    rows: u64,
    plain_bytes: i64,
}

impl Pages {
    /// `index`: the physical type, where each page's bounds are wanted.
    pub(super) fn new(codec: Codec, index: Option<Type>) -> Self {
        Self {
            sink: TrackedWrite::new(Vec::new()),
            codec,
            offsets: OffsetIndexBuilder::new(),
            index: index.map(ColumnIndexBuilder::new),
            encodings: vec![Encoding::RLE],
            count: 0,
            nulls: 0,
            rows: 0,
            plain_bytes: 0,
        }
    }

    pub(super) fn nulls(&self) -> u64 {
        self.nulls
    }

    /// Appends a page of these bytes: levels, then values.
    pub(super) fn push(&mut self, raw: &[u8], facts: PageFacts, press: &mut Press) -> Result<()> {
        let buf = match self.codec {
            Codec::Zstd => press.compress(raw)?,
            Codec::Plain => Bytes::copy_from_slice(raw),
        };
        let page = Page::DataPage {
            buf,
            num_values: u32::try_from(facts.count).map_err(too_large)?,
            encoding: facts.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let page = CompressedPage::new(page, raw.len());
        let spec = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        self.offsets.append_row_count(i64::from(facts.rows));
        let length = i32::try_from(spec.compressed_size).map_err(too_large)?;
        self.offsets.append_offset_and_size(spec.offset as i64, length);
        if let Some(index) = &mut self.index {
            let all_null = facts.bounds.is_none();
            let Bounds { min, max } = facts.bounds.unwrap_or_default();
            index.append(all_null, min, max, facts.nulls as i64, None);
        }
        if !self.encodings.contains(&facts.encoding) {
            self.encodings.push(facts.encoding);
        }
        self.count += facts.count as i64;
        self.nulls += facts.nulls as u64;
        self.rows += u64::from(facts.rows);
        self.plain_bytes += spec.uncompressed_size as i64;
        Ok(())
    }

    /// The whole chunk: its bytes and what the file's footer says of it.
    pub(super) fn finish(
        mut self,
        column: ColumnDescPtr,
        dictionary: Option<(&[u8], usize)>,
        statistics: Option<Statistics>,
        bloom_filter: Option<Sbbf>,
        press: &mut Press,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        let mut head = TrackedWrite::new(Vec::new());
        if let Some((raw, values)) = dictionary {
            let buf = match self.codec {
                Codec::Zstd => press.compress(raw)?,
                Codec::Plain => Bytes::copy_from_slice(raw),
            };
            let num_values = u32::try_from(values).map_err(too_large)?;
            let encoding = Encoding::PLAIN;
            let page = Page::DictionaryPage { buf, num_values, encoding, is_sorted: false };
            let page = CompressedPage::new(page, raw.len());
            let spec = SerializedPageWriter::new(&mut head).write_page(page)?;
            self.plain_bytes += spec.uncompressed_size as i64;
            if !self.encodings.contains(&encoding) {
                self.encodings.push(encoding);
            }
        }
        let (mut bytes, mut pages) = (head.into_inner()?, self.sink.into_inner()?);
        let head = bytes.len() as i64;
        // Without a dictionary there is nothing to copy.
        match bytes.is_empty() {
            true => bytes = pages,
            false => bytes.append(&mut pages),
        }
        let mut offset_index = self.offsets.build();
        offset_index.page_locations.iter_mut().for_each(|page| page.offset += head);
        let codec = match self.codec {
            Codec::Zstd => Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?),
            Codec::Plain => Compression::UNCOMPRESSED,
        };
        let mut metadata = ColumnChunkMetaData::builder(column)
            .set_compression(codec)
            .set_encodings(self.encodings)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.plain_bytes)
            .set_num_values(self.count)
            .set_data_page_offset(head)
            .set_dictionary_page_offset(dictionary.map(|_| 0));
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows,
            metadata: metadata.build()?,
            bloom_filter,
            column_index: self.index.map(ColumnIndexBuilder::build).transpose()?,
            offset_index: Some(offset_index),
        };
        Ok((bytes.into(), close))
    }
}

fn too_large(error: std::num::TryFromIntError) -> ParquetError {
    ParquetError::External(Box::new(error))
}
