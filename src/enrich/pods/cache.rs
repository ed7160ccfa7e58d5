//! The pods known, bounded in bytes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::object::Pod;

/// Pods by their ids and addresses.
#[derive(Debug, Default)]
pub(super) struct Cache {
    pods: HashMap<String, Known, foldhash::fast::RandomState>,
    ips: HashMap<IpAddr, Arc<Pod>, foldhash::fast::RandomState>,
    bytes: usize,
    bytes_max: usize,
    refused: u64,
    /// Which list is under way, or was the last.
    list: u64,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    /// The list that it was seen in, or after.
    list: u64,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.pods.len()
    }

    /// In bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often something did not fit.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        self.pods.get(uid).map(|known| Arc::clone(&known.pod))
    }

    pub(super) fn by_ip(&self, ip: IpAddr) -> Option<Arc<Pod>> {
        self.ips.get(&ip.to_canonical()).cloned()
    }

    /// A list of all pods begins.
    pub(super) fn begin_list(&mut self) {
        self.list += 1;
    }

    /// All pods were listed: others are gone.
    pub(super) fn end_list(&mut self) {
        let list = self.list;
        let gone = self.pods.iter().filter(|(_, known)| known.list != list);
        let gone: Vec<String> = gone.map(|(uid, _)| uid.clone()).collect();
        gone.iter().for_each(|uid| self.remove(uid));
    }

    /// A pod as it is now. One that does not fit is not known.
    pub(super) fn put(&mut self, pod: Pod) {
        self.remove(&pod.uid);
        let bytes = pod.bytes();
        if self.bytes + bytes > self.bytes_max {
            self.refused += 1;
            return;
        }
        self.bytes += bytes;
        let pod = Arc::new(pod);
        for ip in &pod.ips {
            // An address belongs to the last who said so.
            self.ips.insert(*ip, Arc::clone(&pod));
        }
        self.pods.insert(pod.uid.clone(), Known { pod, list: self.list });
    }

    /// A pod is gone.
    pub(super) fn remove(&mut self, uid: &str) {
        let Some(Known { pod, .. }) = self.pods.remove(uid) else { return };
        self.bytes -= pod.bytes();
        for ip in &pod.ips {
            if self.ips.get(ip).is_some_and(|owner| owner.uid == uid) {
                self.ips.remove(ip);
            }
        }
    }
}
