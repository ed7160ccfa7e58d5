//! Structural operators against their definition, on random trees.

use proptest::prelude::*;

use super::fixture::{TestTrace, found, span};

/// Whether `right` stands in the relation to `left`, straight from its meaning.
fn related(parents: &[Option<usize>], relation: &str, left: usize, right: usize) -> bool {
    let above = |span: usize| std::iter::successors(parents[span], |up| parents[*up]);
    match relation {
        ">" => parents[right] == Some(left),
        "<" => parents[left] == Some(right),
        ">>" => above(right).any(|up| up == left),
        "<<" => above(left).any(|up| up == right),
        _ => left != right && parents[left].is_some() && parents[left] == parents[right],
    }
}

proptest! {
    #[test]
    fn structural_operators_mean_what_they_say(
        // Each span hangs under one of those before it, or is a root; and is on the left, the right, or both.
        shape in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8, any::<bool>(), any::<bool>()), 1..24),
    ) {
        let parents: Vec<Option<usize>> = shape.iter().enumerate()
            .map(|(i, (up, root, ..))| (i > 0 && *root > 0).then(|| up.index(i.max(1))))
            .collect();
        let trace = TestTrace(shape.iter().zip(&parents).map(|((.., l, r), parent)| {
            let name = match (l, r) { (true, true) => "lr", (true, false) => "l", (false, true) => "r", _ => "" };
            span(*parent, name, 1)
        }).collect());
        let lefts: Vec<usize> = (0..shape.len()).filter(|i| shape[*i].2).collect();
        let rights: Vec<usize> = (0..shape.len()).filter(|i| shape[*i].3).collect();
        for relation in [">", "<", ">>", "<<", "~"] {
            let holds = |l: usize, r: usize| related(&parents, relation, l, r);
            let plain: Vec<usize> = rights.iter().copied().filter(|r| lefts.iter().any(|l| holds(*l, *r))).collect();
            let negated: Vec<usize> = rights.iter().copied().filter(|r| !plain.contains(r)).collect();
            let mut union: Vec<usize> = lefts.iter().copied().filter(|l| rights.iter().any(|r| holds(*l, *r))).collect();
            union.extend(&plain);
            union.sort_unstable();
            union.dedup();
            for (mode, expected) in [("", plain), ("!", negated), ("&", union)] {
                let query = format!("{{ name =~ \"lr?\" }} {mode}{relation} {{ name =~ \"l?r\" }}");
                let spans: Vec<usize> = found(&query, &trace).into_iter().flatten().collect();
                prop_assert_eq!(spans, expected, "{} over {:?}", query, parents);
            }
        }
    }
}
