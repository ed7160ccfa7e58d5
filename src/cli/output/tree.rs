//! Puts a trace's spans into the order of a tree, whatever came: late, unsorted, twice, without parents or in circles.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};

/// A span with what surrounds it.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The span.
    pub span: &'a Span,
    /// Its resource, if one was sent.
    pub resource: Option<&'a Resource>,
    /// Its instrumentation scope, if one was sent.
    pub scope: Option<&'a InstrumentationScope>,
    /// `service.name`, or `unknown_service`.
    pub service: &'a str,
}

/// One line of the tree.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// What the line shows.
    pub node: Node<'a>,
    /// Whether it has children: its details are drawn with a line down to them.
    pub has_children: bool,
    /// For each level from the top: whether a further sibling follows below. Cut to the deepest levels by [`Row::levels`].
    levels: Vec<bool>,
    depth: usize,
}

/// What a line of the tree shows.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    /// A span that was received.
    Span(Placed<'a>),
    /// A span that others name as their parent and that was not received.
    Missing(&'a [u8]),
}

impl Row<'_> {
    /// Levels kept for each row: deeper trees show `…` and their innermost lines, so that a chain of thousands stays readable.
    pub const LEVELS_MAX: usize = 12;

    /// Tree lines before the node itself: `│  ├─ `.
    pub fn branch(&self) -> String {
        let Some((last, above)) = self.levels.split_last() else { return String::new() };
        format!("{}{}", self.lines(above), if *last { "├─ " } else { "└─ " })
    }

    /// Tree lines before a detail below the node: `│  │     `.
    pub fn below(&self) -> String {
        let lines = self.lines(&self.levels);
        format!("{lines}{}", if self.has_children { "│  " } else { "   " })
    }

    fn lines(&self, levels: &[bool]) -> String {
        let cut = if self.depth > self.levels.len() { "… " } else { "" };
        let lines = levels.iter().map(|&more| if more { "│  " } else { "   " });
        std::iter::once(cut).chain(lines).collect()
    }
}

/// Every span of a document, with its surroundings, in the order sent.
pub fn placed(data: &TracesData) -> Vec<Placed<'_>> {
    let mut spans = Vec::new();
    for resource_spans in &data.resource_spans {
        let resource = resource_spans.resource.as_ref();
        let service = resource.and_then(service_name).unwrap_or("unknown_service");
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.as_ref();
            spans.extend(scope_spans.spans.iter().map(|span| Placed { span, resource, scope, service }));
        }
    }
    spans
}

fn service_name(resource: &Resource) -> Option<&str> {
    let attribute = resource.attributes.iter().find(|a| a.key == "service.name")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(name) => Some(name),
        _ => None,
    }
}

/// The rows of the tree, top down. Each span comes exactly once. Children are sorted by start; spans whose parent was not
/// received stand below a [`Node::Missing`] of that parent; a circle of parents is cut at its earliest span.
pub fn rows<'a>(spans: &[Placed<'a>]) -> Vec<Row<'a>> {
    let forest = Forest::plant(spans);
    let mut rows = Vec::with_capacity(spans.len());
    let mut visited = vec![false; spans.len()];
    forest.walk(&forest.tops, &mut visited, &mut rows);
    // What no top reaches hangs in circles: its earliest span becomes a top.
    for start in forest.by_start() {
        if !visited[start] {
            forest.walk(&[Top::Span(start)], &mut visited, &mut rows);
        }
    }
    rows
}

/// What stands at the left edge.
#[derive(Clone, Copy)]
enum Top<'a> {
    Span(usize),
    Missing(&'a [u8]),
}

struct Forest<'s, 'a> {
    spans: &'s [Placed<'a>],
    tops: Vec<Top<'a>>,
    children: HashMap<usize, Vec<usize>>,
    orphans: BTreeMap<&'a [u8], Vec<usize>>,
}

impl<'s, 'a> Forest<'s, 'a> {
    fn plant(spans: &'s [Placed<'a>]) -> Self {
        let ids = first_of_id(spans);
        let mut forest = Self { spans, tops: Vec::new(), children: HashMap::new(), orphans: BTreeMap::new() };
        for (i, placed) in spans.iter().enumerate() {
            let parent = placed.span.parent_span_id.as_slice();
            if parent.iter().all(|&b| b == 0) {
                forest.tops.push(Top::Span(i));
            } else if let Some(shared) = client_side(spans, &ids, i) {
                forest.children.entry(shared).or_default().push(i);
            } else if let Some(&p) = ids.get(parent).and_then(|same_id| same_id.last()) {
                forest.children.entry(p).or_default().push(i);
            } else {
                forest.orphans.entry(parent).or_default().push(i);
            }
        }
        let missing: Vec<Top<'a>> = forest.orphans.keys().map(|id| Top::Missing(id)).collect();
        forest.tops.extend(missing);
        forest.sort();
        forest
    }

    fn sort(&mut self) {
        let spans = self.spans;
        let key = |&i: &usize| order(spans, i);
        self.children.values_mut().for_each(|c| c.sort_by_key(key));
        self.orphans.values_mut().for_each(|c| c.sort_by_key(key));
        let orphans = &self.orphans;
        // Real roots first: an orphan may be older only because of its clock.
        self.tops.sort_by_key(|top| match top {
            Top::Span(i) => (false, order(spans, *i)),
            Top::Missing(id) => (true, order(spans, orphans[id][0])),
        });
    }

    fn by_start(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.spans.len()).collect();
        all.sort_by_key(|&i| order(self.spans, i));
        all
    }

    /// Depth first, with its own stack: a trace may be a chain of thousands.
    fn walk(&self, tops: &[Top<'a>], visited: &mut [bool], rows: &mut Vec<Row<'a>>) {
        let mut path: Vec<bool> = Vec::new();
        for top in tops {
            let mut stack: Vec<(usize, usize, bool)> = Vec::new();
            match *top {
                Top::Span(i) => stack.push((i, 0, false)),
                Top::Missing(id) => {
                    let orphans = &self.orphans[id];
                    rows.push(row(Node::Missing(id), true, &[]));
                    push_children(&mut stack, orphans, 1);
                }
            }
            while let Some((i, depth, more)) = stack.pop() {
                if std::mem::replace(&mut visited[i], true) {
                    continue;
                }
                path.truncate(depth.saturating_sub(1));
                if depth > 0 {
                    path.push(more);
                }
                let children = self.children.get(&i).map_or(&[][..], Vec::as_slice);
                let unseen: Vec<usize> = children.iter().copied().filter(|&c| !visited[c]).collect();
                rows.push(row(Node::Span(self.spans[i]), !unseen.is_empty(), &path));
                push_children(&mut stack, &unseen, depth + 1);
            }
        }
    }
}

fn push_children(stack: &mut Vec<(usize, usize, bool)>, children: &[usize], depth: usize) {
    let last = children.len().saturating_sub(1);
    stack.extend(children.iter().enumerate().rev().map(|(n, &child)| (child, depth, n != last)));
}

fn row<'a>(node: Node<'a>, has_children: bool, path: &[bool]) -> Row<'a> {
    let kept = &path[path.len().saturating_sub(Row::LEVELS_MAX)..];
    Row { node, has_children, levels: kept.to_vec(), depth: path.len() }
}

fn order(spans: &[Placed<'_>], i: usize) -> (u64, std::cmp::Reverse<u64>, usize) {
    let span = spans[i].span;
    (span.start_time_unix_nano, std::cmp::Reverse(span.end_time_unix_nano), i)
}

/// Spans of each id, the client side first: client and server may share one id (as Zipkin's do), then the server's side is
/// the one that has the children.
fn first_of_id<'a>(spans: &[Placed<'a>]) -> HashMap<&'a [u8], Vec<usize>> {
    let mut ids: HashMap<&[u8], Vec<usize>> = HashMap::with_capacity(spans.len());
    for (i, placed) in spans.iter().enumerate() {
        ids.entry(placed.span.span_id.as_slice()).or_default().push(i);
    }
    for same_id in ids.values_mut().filter(|v| v.len() > 1) {
        same_id.sort_by_key(|&i| (spans[i].span.kind == SpanKind::Server as i32, order(spans, i)));
    }
    ids
}

/// The client span that shares its id with the server span `i`, if there is one.
fn client_side(spans: &[Placed<'_>], ids: &HashMap<&[u8], Vec<usize>>, i: usize) -> Option<usize> {
    let span = spans[i].span;
    let same_id = ids.get(span.span_id.as_slice())?;
    let is = |i: usize, kind: SpanKind| spans[i].span.kind == kind as i32;
    let client = *same_id.first()?;
    (client != i && is(client, SpanKind::Client) && is(i, SpanKind::Server)).then_some(client)
}
