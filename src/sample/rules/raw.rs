//! The rules file as it is written. What its values mean is checked afterwards, where their places are known.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde_saphyr::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRules {
    pub version: Option<Spanned<u64>>,
    pub decision: Option<RawDecision>,
    pub rules: Spanned<Vec<RawRule>>,
    #[serde(default)]
    pub retention: BTreeMap<String, Spanned<RawTerms>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDecision {
    pub wait: Option<Spanned<String>>,
    pub after_root: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub name: Spanned<String>,
    pub when: Option<Spanned<String>>,
    pub drop: Option<Spanned<bool>>,
    pub keep: Option<Spanned<RawKeep>>,
    pub retention: Option<Spanned<String>>,
}

/// `10%`, or `{ per_second: 50, by: […] }`.
#[derive(Debug)]
pub(super) enum RawKeep {
    Percent(String),
    Rate(RawRate),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRate {
    pub per_second: f64,
    #[serde(default)]
    pub by: Vec<String>,
}

/// `30d`, or `{ age: 30d, size: 100GiB }`.
#[derive(Debug)]
pub(super) struct RawTerms {
    pub age: String,
    pub size: Option<String>,
}

impl<'de> Deserialize<'de> for RawTerms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TermsVisitor)
    }
}

struct TermsVisitor;

impl<'de> Visitor<'de> for TermsVisitor {
    type Value = RawTerms;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as `30d`, or `{ age: 30d, size: 100GiB }`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawTerms, E> {
        Ok(RawTerms { age: text.to_owned(), size: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawTerms, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            age: String,
            size: Option<String>,
        }
        let Written { age, size } = Written::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RawTerms { age, size })
    }
}

impl<'de> Deserialize<'de> for RawKeep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeepVisitor)
    }
}

struct KeepVisitor;

impl<'de> Visitor<'de> for KeepVisitor {
    type Value = RawKeep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a percentage such as `10%`, or `{ per_second: 50, by: [resource.service.name] }`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawKeep, E> {
        Ok(RawKeep::Percent(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawKeep, A::Error> {
        RawRate::deserialize(MapAccessDeserializer::new(map)).map(RawKeep::Rate)
    }

    // A bare number would leave open whether 1 is everything or a hundredth.
    fn visit_u64<E: Error>(self, number: u64) -> Result<RawKeep, E> {
        Err(E::custom(format!("write a percentage, such as `{number}%`")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<RawKeep, E> {
        Err(E::custom(format!("`{number}` is not a percentage, such as `10%`")))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<RawKeep, E> {
        Err(E::custom(format!("write a percentage, such as `{number}%`")))
    }
}
