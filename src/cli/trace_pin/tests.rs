use super::*;

fn document(outcome: PinOutcome) -> PinDocument {
    PinDocument {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        outcome,
        rule: "pin".into(),
        retention: "pinned".into(),
        retention_seconds: Some(90 * 86_400),
        dropped_by: None,
        spans: None,
        complete: true,
    }
}

#[test]
fn each_outcome_is_told_in_a_sentence() {
    let decided = sentence(&document(PinOutcome::Decided));
    assert_eq!(
        decided,
        "pinned 4bf92f3577b34da6a3ce929d0e0e4736: it waited for its verdict, and is kept under retention class \
         `pinned` (for 90d)"
    );
    let rescued = PinDocument {
        dropped_by: Some("base\x1bline".into()),
        spans: Some(1),
        complete: false,
        ..document(PinOutcome::Rescued)
    };
    assert_eq!(
        sentence(&rescued),
        "pinned 4bf92f3577b34da6a3ce929d0e0e4736: it had been dropped by rule base\\u{1b}line; 1 span came back from \
         the flight recorder, kept under retention class `pinned` (for 90d)\nnote: a part of the flight recorder \
         could not be searched yet; there may be more spans"
    );
    let kept = PinDocument {
        rule: "errors".into(),
        retention: "errors".into(),
        retention_seconds: None,
        ..document(PinOutcome::Kept)
    };
    assert_eq!(
        sentence(&kept),
        "4bf92f3577b34da6a3ce929d0e0e4736 is kept already, by rule errors, kept under retention class `errors` \
         (for ever: the rules do not name it); nothing was changed"
    );
    let moved = PinDocument { rule: "errors".into(), spans: Some(3), ..document(PinOutcome::Moved) };
    assert_eq!(
        sentence(&moved),
        "pinned 4bf92f3577b34da6a3ce929d0e0e4736: its 3 spans were moved from another class, and are kept under \
         retention class `pinned` (for 90d)"
    );
}
