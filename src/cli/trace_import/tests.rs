use super::*;

#[test]
fn a_document_s_spans_and_traces_are_counted() {
    let document = serde_json::json!({ "resourceSpans": [
        { "scopeSpans": [{ "spans": [
            { "traceId": "4bf92f3577b34da6a3ce929d0e0e4736" }, { "traceId": "4BF92F3577B34DA6A3CE929D0E0E4736" },
        ] }] },
        { "scopeSpans": [{ "spans": [{ "traceId": "not an id" }] }, {}] },
    ] });
    let (spans, traces) = contents(&document).unwrap();
    assert_eq!((spans, traces.len()), (3, 1));
}

#[test]
fn what_is_no_document_of_traces_is_said() {
    let wrong = [serde_json::json!({ "resourceLogs": [] }), serde_json::json!(7)];
    for document in wrong {
        let error = contents(&document).unwrap_err().to_string();
        assert!(error.contains("resourceSpans"), "{error}");
    }
    let empty = contents(&serde_json::json!({ "resourceSpans": [] })).unwrap_err();
    assert!(empty.to_string().contains("no span"));
}

#[test]
fn rejected_spans_are_a_number_or_a_text() {
    assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":"3"}}"#), 3);
    assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":3}}"#), 3);
    assert_eq!(rejected(b"{}"), 0);
}
