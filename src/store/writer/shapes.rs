//! Which attributes come after which: messages of one origin are alike.

use std::collections::{HashMap, HashSet};

use super::leaf::Dictionary;
use crate::store::index::{FilterScope, key_seed};
use crate::store::schema::{Layout, WellKnownScope};

/// Sequences of attributes that are remembered, in nodes …
const NODES_MAX: usize = 16 * 1024;
/// … and in bytes of what is remembered of messages that ended there.
const ENDS_BYTES_MAX: usize = 4 << 20;
const NONE: u32 = u32::MAX;

/// How sure it is at first that what comes after a sequence came before, byte for byte, and at most.
const TRUST: (u8, u8) = (16, 64);
/// After so many attributes somebody looks again whether they come again.
const LOOK_AGAIN: u8 = 200;

/// After these attributes, in this order and of these types. The next attribute is nearly always the one that came next the
/// last time, and then a comparison of keys is all there is to do.
pub(super) struct Node {
    /// Number of the attribute's key, and where its text is in the dictionary.
    pub(super) key: u32,
    code: u8,
    /// The key came before: it is not in the map.
    pub(super) is_repeated: bool,
    /// The span attribute's place among those with a column.
    pub(super) known: Option<u8>,
    /// Whether it pays to look for the next attribute among those that came before: 0, it does not.
    trust: u8,
    /// So many attributes are not looked for.
    skip: u8,
    /// What the key adds to the hashes of its values.
    pub(super) seed: u64,
    /// The node that came next the last time.
    next: u32,
    /// Of messages that ended here, once there was one.
    end: Option<Box<End>>,
    before: u32,
}

/// What all messages with these attributes have in common.
#[derive(Default)]
pub(super) struct End {
    /// Types of the attributes that are in the map.
    pub(super) types: Box<[u8]>,
    /// The numbers of their keys.
    pub(super) keys: Box<[u32]>,
    /// The types' number in the dictionary of their column.
    pub(super) number: Option<u32>,
}

/// The sequences of attributes seen in a row group.
#[derive(Default)]
pub(super) struct Shapes {
    /// Which attributes of spans have columns of their own.
    layout: Option<&'static Layout>,
    nodes: Vec<Node>,
    index: HashMap<(u32, u32, u8), u32, foldhash::fast::RandomState>,
    /// Keys of the message under way, once it left the beaten track.
    seen: HashSet<u32, foldhash::fast::RandomState>,
    is_new: bool,
    ends_bytes: usize,
}

impl Shapes {
    /// Of spans, whose attributes may have columns of their own.
    pub(super) fn of_spans(layout: &'static Layout) -> Self {
        Self { layout: Some(layout), ..Self::default() }
    }

    /// Begins a message; gives the node of no attributes.
    pub(super) fn begin(&mut self) -> u32 {
        if self.nodes.len() > NODES_MAX || self.ends_bytes > ENDS_BYTES_MAX {
            self.nodes.clear();
            self.index.clear();
            self.ends_bytes = 0;
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node {
                key: NONE,
                code: 0,
                is_repeated: false,
                known: None,
                trust: TRUST.0,
                skip: 0,
                seed: 0,
                next: NONE,
                end: None,
                before: NONE,
            });
        }
        if self.is_new {
            self.seen.clear();
            self.is_new = false;
        }
        0
    }

    /// A node by its number.
    #[inline]
    pub(super) fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    /// Whether what comes after a node shall be looked for among the attributes that came before.
    #[inline]
    pub(super) fn looks(&mut self, at: u32) -> bool {
        let node = &mut self.nodes[at as usize];
        let looks = node.skip == 0;
        node.skip = node.skip.saturating_sub(1);
        looks
    }

    /// Whether it was found there.
    #[inline]
    pub(super) fn looked(&mut self, at: u32, found: bool) {
        let node = &mut self.nodes[at as usize];
        if found {
            node.trust = (node.trust + 2).min(TRUST.1);
        } else {
            node.trust = node.trust.saturating_sub(1);
            if node.trust == 0 {
                node.skip = LOOK_AGAIN;
            }
        }
    }

    /// The node of one attribute more.
    #[inline]
    pub(super) fn step(&mut self, at: u32, keys: &mut Dictionary, key: &[u8], code: u8) -> u32 {
        let next = self.nodes[at as usize].next;
        match self.nodes.get(next as usize) {
            Some(node) if node.code == code && keys.value(node.key) == key => self.go_on(next),
            _ => {
                let number = keys.number(key);
                self.step_aside(at, keys, number, code)
            }
        }
    }

    /// As [`Self::step`], for a key by its number.
    #[inline]
    pub(super) fn step_known(&mut self, at: u32, keys: &Dictionary, key: u32, code: u8) -> u32 {
        let next = self.nodes[at as usize].next;
        match self.nodes.get(next as usize) {
            Some(node) if node.key == key && node.code == code => self.go_on(next),
            _ => self.step_aside(at, keys, key, code),
        }
    }

    #[inline]
    fn go_on(&mut self, next: u32) -> u32 {
        if self.is_new {
            self.seen.insert(self.nodes[next as usize].key);
        }
        next
    }

    #[cold]
    fn step_aside(&mut self, at: u32, keys: &Dictionary, number: u32, code: u8) -> u32 {
        if !self.is_new {
            self.is_new = true;
            let mut node = &self.nodes[at as usize];
            while node.before != NONE {
                self.seen.insert(node.key);
                node = &self.nodes[node.before as usize];
            }
        }
        let is_repeated = !self.seen.insert(number);
        let next = match self.index.get(&(at, number, code)) {
            Some(known) => *known,
            None => {
                let key = keys.value(number);
                let key_text = self.layout.zip(std::str::from_utf8(key).ok());
                let known = key_text.and_then(|(of, key)| of.position(WellKnownScope::Span, key));
                self.nodes.push(Node {
                    key: number,
                    code,
                    is_repeated,
                    known: known.and_then(|at| u8::try_from(at).ok()),
                    trust: TRUST.0,
                    skip: 0,
                    seed: key_seed(FilterScope::Span, key),
                    next: NONE,
                    end: None,
                    before: at,
                });
                let next = self.nodes.len() as u32 - 1;
                self.index.insert((at, number, code), next);
                next
            }
        };
        self.nodes[at as usize].next = next;
        next
    }

    /// What is known of messages that end at a node.
    #[inline]
    pub(super) fn end(&mut self, at: u32) -> &mut End {
        if self.nodes[at as usize].end.is_none() {
            let end = self.end_of(at);
            self.ends_bytes += end.types.len() + size_of_val(&*end.keys) + size_of::<End>();
            self.nodes[at as usize].end = Some(Box::new(end));
        }
        self.nodes[at as usize].end.get_or_insert_default()
    }

    #[cold]
    fn end_of(&self, at: u32) -> End {
        let (mut types, mut keys) = (Vec::new(), Vec::new());
        let mut node = &self.nodes[at as usize];
        while node.before != NONE {
            if !node.is_repeated {
                types.push(node.code);
                keys.push(node.key);
            }
            node = &self.nodes[node.before as usize];
        }
        types.reverse();
        keys.reverse();
        End { types: types.into(), keys: keys.into(), number: None }
    }
}
