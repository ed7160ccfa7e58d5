//! Compression of what is sent. None by default: on one network bytes are cheaper than the time to squeeze them.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;

/// The level that is fastest and still saves most: what is sent is thrown away by the receiver at once.
const LEVEL: i32 = 1;

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, which every receiver has.
    Gzip,
    /// zstd: half the time of gzip, and fewer bytes.
    Zstd,
}

impl Compression {
    /// All of them, by the names they have in a configuration.
    pub const ALL: [(&'static str, Self); 3] =
        [("none", Self::None), ("gzip", Self::Gzip), ("zstd", Self::Zstd)];

    /// Its name in `grpc-encoding` and `content-encoding`, if it is any.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The pieces as one, compressed; `None` where there is nothing to do.
    ///
    /// # Errors
    /// What the encoder says.
    pub fn compress(self, pieces: &[Bytes]) -> io::Result<Option<Bytes>> {
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(None);
        }
        let compressed = match self {
            Self::None => return Ok(None),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(LEVEL as u32));
                pieces.iter().try_for_each(|piece| encoder.write_all(piece))?;
                encoder.finish()?
            }
            Self::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
                pieces.iter().try_for_each(|piece| encoder.write_all(piece))?;
                encoder.finish()?
            }
        };
        Ok(Some(compressed.into()))
    }
}
