//! Names of services as small numbers: what each trace's spans are counted by.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use smallvec::SmallVec;

/// The name that the semantic conventions give to a resource without `service.name`.
pub const UNKNOWN_SERVICE: &str = "unknown_service";
/// What services are counted as that come when [`SERVICES_MAX`] are known.
pub const OTHER_SERVICES: &str = "(others)";
/// Their number.
pub(super) const OTHERS: u16 = 1;
/// How many services are told apart. A million of them must not take a million counters.
pub const SERVICES_MAX: usize = 4096;
/// Names are told apart up to this length, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// So many spans of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSpans {
    /// Its number in [`Services`].
    pub service: u16,
    /// How many spans.
    pub spans: u32,
}

/// The services of one trace. Mostly few.
pub type TraceServices = SmallVec<[ServiceSpans; 2]>;

/// Adds counts by service.
pub fn add_services(services: &mut Vec<ServiceSpans>, more: &[ServiceSpans]) {
    for one in more {
        match services.iter_mut().find(|known| known.service == one.service) {
            Some(known) => known.spans = known.spans.saturating_add(one.spans),
            None => services.push(*one),
        }
    }
}

/// Numbers for names of services, given in the order they are first seen. Shared by all requests; bounded by
/// [`SERVICES_MAX`].
#[derive(Debug)]
pub struct Services(RwLock<Names>);

#[derive(Debug)]
struct Names {
    numbers: HashMap<Arc<str>, u16, foldhash::fast::RandomState>,
    names: Vec<Arc<str>>,
}

impl Default for Services {
    fn default() -> Self {
        let names: Vec<Arc<str>> = vec![UNKNOWN_SERVICE.into(), OTHER_SERVICES.into()];
        let numbers = names.iter().cloned().zip(0..).collect();
        Self(RwLock::new(Names { numbers, names }))
    }
}

impl Services {
    /// The number of a name; of a name too many that of [`OTHER_SERVICES`].
    pub fn number(&self, name: &str) -> u16 {
        if name.is_empty() {
            return 0;
        }
        let name = cut(name);
        if let Some(number) = self.0.read().numbers.get(name) {
            return *number;
        }
        let mut names = self.0.write();
        if let Some(number) = names.numbers.get(name) {
            return *number;
        }
        let number = names.names.len();
        if number >= SERVICES_MAX {
            return OTHERS;
        }
        let name: Arc<str> = name.into();
        names.names.push(name.clone());
        // SERVICES_MAX fits.
        let number = number as u16;
        names.numbers.insert(name, number);
        number
    }

    /// The name behind a number.
    pub fn name(&self, number: u16) -> Arc<str> {
        let names = self.0.read();
        names.names.get(usize::from(number)).or(names.names.get(1)).cloned().unwrap_or_default()
    }
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}
