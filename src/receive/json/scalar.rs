//! Fields that are not messages, from JSON to protobuf.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Writer;
use super::schema::{Field, Kind};

/// A JSON value that is neither object nor array nor null.
#[derive(Clone, Copy)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(&'a str),
}

impl Scalar<'_> {
    /// What it is, in words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
        }
    }

    /// Integers may be written as strings, and as floats without a fraction.
    fn integer(self) -> Result<i128, Problem> {
        match self {
            Self::Integer(value) => Ok(value),
            Self::Float(value) => whole(value),
            Self::Text(text) => match text.parse() {
                Ok(value) => Ok(value),
                Err(_) => text.parse().map_err(|_| None).and_then(whole),
            },
            Self::Bool(_) => Err(None),
        }
    }

    fn double(self) -> Result<f64, Problem> {
        match self {
            Self::Float(value) => Ok(value),
            Self::Integer(value) => Ok(value as f64),
            Self::Text("NaN") => Ok(f64::NAN),
            Self::Text("Infinity") => Ok(f64::INFINITY),
            Self::Text("-Infinity") => Ok(f64::NEG_INFINITY),
            // Rust also reads "inf" and "nan" in any case; JSON does not.
            Self::Text(text) => text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or(None),
            Self::Bool(_) => Err(None),
        }
    }

    fn text(&self) -> Result<&str, Problem> {
        if let Self::Text(text) = self { Ok(text) } else { Err(None) }
    }
}

/// What is wrong with a value; without words when it is simply of another type.
pub(super) type Problem = Option<&'static str>;

const OUT_OF_RANGE: Problem = Some("the integer is out of range");

fn whole(value: f64) -> Result<i128, Problem> {
    if value.fract() != 0.0 {
        return Err(Some("expected an integer, found a number with a fraction"));
    }
    // As casts saturate, what is too large stays too large for any field.
    if value.is_finite() { Ok(value as i128) } else { Err(None) }
}

/// Either alphabet, with or without padding, as protobuf's JSON mapping wants it.
fn base64(text: &str) -> Result<Vec<u8>, Problem> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let url_safe = text.contains(['-', '_']);
    let alphabet = if url_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, config).decode(text).map_err(|_| Some("the string is not base64"))
}

/// Writes a field, if it is not the type's default or if `presence` asks for it anyway.
pub(super) fn write(
    writer: &mut Writer,
    field: &Field,
    presence: bool,
    value: Scalar<'_>,
) -> Result<(), Problem> {
    let number = field.number;
    match field.kind {
        Kind::Text => write_bytes(writer, number, presence, value.text()?.as_bytes()),
        Kind::HexId => {
            let id = hex::decode(value.text()?);
            let id =
                id.map_err(|_| Some("the id is not hex (OTLP/JSON writes ids in hex, not in base64)"))?;
            write_bytes(writer, number, presence, &id);
        }
        Kind::Base64 => write_bytes(writer, number, presence, &base64(value.text()?)?),
        Kind::Bool => {
            let Scalar::Bool(value) = value else { return Err(None) };
            write_varint(writer, number, presence, u64::from(value));
        }
        Kind::Int64 => {
            let value = i64::try_from(value.integer()?).map_err(|_| OUT_OF_RANGE)?;
            write_varint(writer, number, presence, value.cast_unsigned());
        }
        Kind::Uint32 => {
            let value = u32::try_from(value.integer()?).map_err(|_| OUT_OF_RANGE)?;
            write_varint(writer, number, presence, u64::from(value));
        }
        Kind::Enum => {
            let Scalar::Integer(_) = value else { return Err(None) };
            let value = i32::try_from(value.integer()?).map_err(|_| OUT_OF_RANGE)?;
            write_varint(writer, number, presence, i64::from(value).cast_unsigned());
        }
        Kind::Double => {
            let value = value.double()?;
            write_fixed(writer, number, 1, presence || value.to_bits() != 0, &value.to_le_bytes());
        }
        Kind::Fixed64 => {
            let value = u64::try_from(value.integer()?).map_err(|_| OUT_OF_RANGE)?;
            write_fixed(writer, number, 1, presence || value != 0, &value.to_le_bytes());
        }
        Kind::Fixed32 => {
            let value = u32::try_from(value.integer()?).map_err(|_| OUT_OF_RANGE)?;
            write_fixed(writer, number, 5, presence || value != 0, &value.to_le_bytes());
        }
        Kind::Strings if presence => writer.bytes_field(number, value.text()?.as_bytes()),
        Kind::Message(_) | Kind::Repeated(_) | Kind::Strings => return Err(None),
    }
    Ok(())
}

fn write_bytes(writer: &mut Writer, number: u32, presence: bool, bytes: &[u8]) {
    if presence || !bytes.is_empty() {
        writer.bytes_field(number, bytes);
    }
}

fn write_varint(writer: &mut Writer, number: u32, presence: bool, value: u64) {
    if presence || value != 0 {
        writer.tag(number, 0);
        writer.varint(value);
    }
}

fn write_fixed(writer: &mut Writer, number: u32, wire_type: u32, present: bool, bytes: &[u8]) {
    if present {
        writer.tag(number, wire_type);
        writer.out.extend_from_slice(bytes);
    }
}
