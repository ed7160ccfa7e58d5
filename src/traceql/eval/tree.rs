//! The tree of spans: who stands under whom.

use crate::traceql::access::TraceAccess;
use crate::traceql::ast::Relation;

/// A span's place. Bounds are numbered from 1 in the order a walk enters and leaves spans.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Node {
    parent: Option<usize>,
    pub children: i64,
    pub left: i64,
    pub right: i64,
}

/// All places, and the spans in an order in which parents come before their children.
pub(super) struct Tree {
    nodes: Vec<Node>,
    order: Vec<usize>,
}

impl Tree {
    /// Builds it without recursion; a cycle is cut at its first span.
    pub fn of(trace: &impl TraceAccess) -> Self {
        let count = trace.span_count();
        let parent_of = |span| trace.parent(span).filter(|parent| *parent < count && *parent != span);
        let nodes: Vec<Node> =
            (0..count).map(|span| Node { parent: parent_of(span), ..Node::default() }).collect();
        let mut tree = Self { nodes, order: Vec::with_capacity(count) };
        tree.cut_cycles();
        let children = tree.children();
        tree.number(&children);
        tree
    }

    pub fn node(&self, span: usize) -> Node {
        self.nodes[span]
    }

    pub fn parent(&self, span: usize) -> Option<usize> {
        self.nodes[span].parent
    }

    /// Follows every span upwards once; who comes back to its own path loses its parent.
    fn cut_cycles(&mut self) {
        let mut walk_of = vec![0usize; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let walk = start + 1;
            let mut span = start;
            while walk_of[span] == 0 {
                walk_of[span] = walk;
                match self.nodes[span].parent {
                    Some(parent) if walk_of[parent] == walk => self.nodes[parent].parent = None,
                    Some(parent) => span = parent,
                    None => break,
                }
            }
        }
    }

    fn children(&self) -> Vec<Vec<usize>> {
        let mut children = vec![Vec::new(); self.nodes.len()];
        for (span, node) in self.nodes.iter().enumerate() {
            if let Some(parent) = node.parent {
                children[parent].push(span);
            }
        }
        children
    }

    /// Walks from each root, numbering bounds.
    fn number(&mut self, children: &[Vec<usize>]) {
        let mut next = 1;
        let mut open: Vec<(usize, usize)> = Vec::new();
        let roots: Vec<usize> = (0..self.nodes.len()).filter(|span| self.parent(*span).is_none()).collect();
        for root in roots {
            open.push((root, 0));
            while let Some((span, child)) = open.last_mut() {
                let (span, at) = (*span, *child);
                *child += 1;
                if at == 0 {
                    self.nodes[span].left = next;
                    self.nodes[span].children = i64::try_from(children[span].len()).unwrap_or(i64::MAX);
                    self.order.push(span);
                    next += 1;
                }
                match children[span].get(at) {
                    Some(child) => open.push((*child, 0)),
                    None => {
                        self.nodes[span].right = next;
                        next += 1;
                        open.pop();
                    }
                }
            }
        }
    }

    /// The spans of `to` that stand in `relation` to some other span of `from`: children of one, descendants of
    /// one, and so on. Linear in the size of the trace.
    pub fn related(&self, relation: Relation, from: &[usize], to: &[usize]) -> Vec<usize> {
        let mut is_from = vec![false; self.nodes.len()];
        from.iter().for_each(|span| is_from[*span] = true);
        let mut fits = vec![false; self.nodes.len()];
        match relation {
            Relation::Child => to.iter().for_each(|span| {
                fits[*span] = self.parent(*span).is_some_and(|parent| is_from[parent]);
            }),
            Relation::Parent => {
                from.iter().filter_map(|span| self.parent(*span)).for_each(|p| fits[p] = true)
            }
            Relation::Descendant => self.order.iter().for_each(|span| {
                fits[*span] = self.parent(*span).is_some_and(|parent| is_from[parent] || fits[parent]);
            }),
            Relation::Ancestor => self.order.iter().rev().for_each(|span| {
                if let Some(parent) = self.parent(*span) {
                    fits[parent] |= is_from[*span] || fits[*span];
                }
            }),
            Relation::Sibling => {
                let mut under = vec![0usize; self.nodes.len()];
                from.iter().filter_map(|span| self.parent(*span)).for_each(|parent| under[parent] += 1);
                to.iter().for_each(|span| {
                    let itself = usize::from(is_from[*span]);
                    fits[*span] = self.parent(*span).is_some_and(|parent| under[parent] > itself);
                });
            }
        }
        to.iter().copied().filter(|span| fits[*span]).collect()
    }
}

/// The relation as seen from the other side.
pub(super) fn inverse(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}
