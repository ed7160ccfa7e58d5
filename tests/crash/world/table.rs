//! What is done to the tables beside writing batches: compaction and expiry. The oracle looks before and after.

use std::sync::Arc;

use tracewell::app::events::Event;
use tracewell::runtime::{Clock, SeededRandom};
use tracewell::sample::RetentionClasses;
use tracewell::store::{
    Compacted, CompactionConfig, Compactor, Location, Store, StoreConfig, StoreError, Unpaced,
};

use super::World;
use crate::journal::note;
use crate::oracle::{Breach, ClassBytes, Expiry, Tables};
use crate::process::STORE;

impl World {
    /// What the tables hold, whatever the weather.
    pub fn tables(&self) -> Result<Tables, Breach> {
        self.runtime.block_on(Tables::read(&self.load, &self.reader()))
    }

    /// The bytes of each class.
    fn class_bytes(&self) -> Result<ClassBytes, Breach> {
        let location = Location::custom(self.machine.objects.contents(), STORE).unwrap();
        let clock = Arc::new(self.machine.clock.clone());
        let all = async {
            let store = Store::open(StoreConfig::new(location, "oracle"), clock)?;
            let mut bytes = ClassBytes::new();
            for tenant in self.load.tenants() {
                for ((class, _), amount) in store.inventory(tenant, None).await?.partitions {
                    *bytes.entry((tenant.clone(), class)).or_default() += amount.bytes;
                }
            }
            Ok::<_, StoreError>(bytes)
        };
        self.runtime.block_on(all).map_err(|error| format!("the table cannot be read: {error}"))
    }

    /// Expiry, by the rules in force.
    pub fn expire(&mut self) -> Result<bool, Breach> {
        let classes = self.process().rulebook.current().retention().clone();
        self.expire_as(classes)
    }

    /// Expiry with each class bound to so many thousandths of what the largest one has.
    pub fn expire_to(&mut self, thousandths: u64) -> Result<bool, Breach> {
        let mut classes = self.process().rulebook.current().retention().clone();
        let largest = self.class_bytes()?.into_values().max().unwrap_or(0);
        classes.values_mut().for_each(|terms| terms.bytes_max = Some(largest * thousandths / 1000));
        self.expire_as(classes)
    }

    /// Expiry with these classes; whether it came to its end.
    fn expire_as(&mut self, classes: RetentionClasses) -> Result<bool, Breach> {
        let (before, bytes_before) = (self.tables()?, self.class_bytes()?);
        self.machine.objects.next_attempt();
        let now_unix_nano = self.machine.clock.now_unix_nano();
        let process = self.process.as_mut().unwrap();
        let outcome = self.runtime.block_on(process.store.expire(&classes, now_unix_nano));
        let kind = outcome.as_ref().map(|expired| expired.files).map_err(StoreError::kind);
        note!(self.journal, "expiry: {kind:?}");
        let is_done = outcome.is_ok();
        if let Ok(expired) = outcome
            && expired.files > 0
        {
            // As in the daemon: who goes down does not count any more.
            let _ = self.process().events.try_send(Event::Expired(expired.spans));
        }
        let (after, bytes_after) = (self.tables()?, self.class_bytes()?);
        let expiry = Expiry { classes, now_unix_nano, is_done, before: bytes_before, after: bytes_after };
        self.oracle.expires(&self.load, &expiry, &before, &after)?;
        Ok(is_done)
    }

    /// Merges small files; whether there was nothing left to merge. Draws nothing, so that seeds keep the course they had
    /// without it.
    pub fn compact(&mut self) -> Result<bool, Breach> {
        let before = self.tables()?;
        self.machine.objects.next_attempt();
        let now = self.machine.clock.now_unix_nano();
        let random = Arc::new(SeededRandom::new(now));
        let config = CompactionConfig { target: 64 << 10, gather: 2, ..CompactionConfig::default() };
        let compactor = Compactor::new(Arc::clone(&self.process.as_ref().unwrap().store), config, random);
        let tenants = self.load.tenants();
        let mut planned = 0;
        let all = async {
            let mut all = Compacted::default();
            for tenant in tenants {
                for unit in compactor.plan(tenant, now).await? {
                    planned += 1;
                    let done = compactor.compact(&unit, Box::new(Unpaced)).await?;
                    all.add(&done.unwrap_or_default());
                }
            }
            Ok::<_, StoreError>(all)
        };
        let outcome = self.runtime.block_on(all);
        self.compacted += outcome.as_ref().map_or(0, |all| all.units);
        let is_done = outcome.is_ok() && planned == 0;
        let kind = outcome.map(|all| (all.units, all.given_up, all.joined)).map_err(|error| error.kind());
        note!(self.journal, "compaction: {kind:?}");
        self.oracle.compacts(&before, &self.tables()?)?;
        Ok(is_done)
    }
}
