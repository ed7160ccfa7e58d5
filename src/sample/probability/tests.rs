#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::wire::TraceId;

fn th(text: &str) -> Threshold {
    Threshold::parse(text).unwrap()
}

fn verdict(threshold: Option<Threshold>, erase_threshold: bool) -> Verdict {
    Verdict {
        keep: true,
        rule: Arc::from("a-rule"),
        rules_version: 1,
        retention: Arc::from("default"),
        threshold,
        erase_threshold,
        early: false,
        late: false,
        debug: false,
    }
}

#[test]
fn the_trace_id_gives_the_randomness() {
    let id: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
    let randomness = id.randomness();
    assert_eq!(randomness, 0x00ce_929d_0e0e_4736);
    assert!((randomness as f64 / RANGE as f64 - 0.80692).abs() < 1e-5);
    assert!(th("8").keeps(randomness));
    assert!(th("c").keeps(randomness));
    assert!(!th("e666").keeps(randomness));
    assert_eq!(th("e666").probability(), 0.100006103515625);
}

#[test]
fn one_percent_at_three_precisions() {
    for (precision, text, count) in
        [(3, "fd71", 100.05496), (4, "fd70a", 99.99771), (5, "fd70a4", 100.000095)]
    {
        let threshold = Threshold::from_probability(0.01, precision).unwrap();
        assert_eq!(threshold.to_string(), text);
        assert!((threshold.adjusted_count() - count).abs() < 1e-5, "{}", threshold.adjusted_count());
    }
}

#[test]
fn equalizing_to_half_compares_with_rv() {
    let state = SamplingState::parse("ot=th:0;rv:9b8233f7e3a151");
    assert_eq!(state.threshold, Some(Threshold::ALWAYS));
    let randomness = state.randomness.unwrap();
    let half = Threshold::from_probability(0.5, PRECISION_DEFAULT).unwrap();
    assert!(half.keeps(randomness));
    assert_eq!(half.equalize(state.threshold).to_string(), "8");
    assert!(th("9b8233f7e3a151").keeps(randomness));
    assert!(!th("9b8233f7e3a152").keeps(randomness));
    assert_eq!(
        edit_tracestate("ot=th:0;rv:9b8233f7e3a151", ThresholdEdit::Raise(half)),
        "ot=th:8;rv:9b8233f7e3a151"
    );
}

#[test]
fn proportional_multiplies() {
    let threshold = Threshold::proportional(0.1, th("c"), PRECISION_DEFAULT).unwrap();
    assert_eq!(threshold.to_string(), "f999a");
    assert!((threshold.probability() - 0.025).abs() < 1e-6);
}

#[test]
fn a_leading_zero_is_written() {
    let threshold = Threshold::new(0x0008_0000_0000_0000).unwrap();
    assert_eq!(threshold.to_string(), "08");
    assert_eq!(threshold.probability(), 0.96875);
}

#[test]
fn a_higher_threshold_from_upstream_stays() {
    let half = Threshold::from_probability(0.5, PRECISION_DEFAULT).unwrap();
    assert_eq!(half.equalize(Some(th("c"))), th("c"));
    let (state, count) = kept_tracestate("ot=th:c", &verdict(Some(half), false));
    assert!(matches!(state, Cow::Borrowed("ot=th:c")));
    assert_eq!(count, 4.0);
}

#[test]
fn thresholds_near_one_and_near_nothing_survive() {
    let at = |p: f64| Threshold::from_probability(p, PRECISION_DEFAULT);
    assert_eq!(at(1.0).unwrap(), Threshold::ALWAYS);
    assert_eq!(Threshold::ALWAYS.to_string(), "0");
    assert!(at(0.999_999).unwrap() > Threshold::ALWAYS, "not rounded to everything");
    assert_eq!(at(1.0 / RANGE as f64).unwrap().to_string(), "ffffffffffffff");
    assert_eq!(at(0.0), None);
    assert_eq!(at(1e-17), None);
    assert_eq!(at(-0.5), None);
    assert_eq!(at(1.000_001), None);
    assert_eq!(at(f64::NAN), None);
    assert_eq!(at(0.1).unwrap().to_string(), "e666");
    assert_eq!(Threshold::new(RANGE), None);
}

#[test]
fn malformed_values_are_not_read() {
    for text in ["", "E666", "+8", "0x8", "g", "123456789abcdef", " 8"] {
        assert_eq!(Threshold::parse(text), None, "{text:?}");
    }
    for text in ["", "9b8233f7e3a15", "9b8233f7e3a1511", "9B8233f7e3a151", "9b8233f7e3a15g"] {
        assert_eq!(parse_randomness(text), None, "{text:?}");
    }
    assert_eq!(SamplingState::parse("ot=th:zz;rv:1,x=ot=th:8"), SamplingState::default());
}

#[test]
fn tracestate_edits() {
    let raise = |text| ThresholdEdit::Raise(th(text));
    let cases = [
        ("", raise("8"), "ot=th:8"),
        ("", ThresholdEdit::Erase, ""),
        ("", ThresholdEdit::Leave, ""),
        ("congo=t61rcWkgMzE", raise("8"), "ot=th:8,congo=t61rcWkgMzE"),
        ("rojo=1, congo=2", raise("8"), "ot=th:8,rojo=1,congo=2"),
        (
            "rojo=1,ot=rv:9b8233f7e3a151;x:y,congo=2",
            raise("8"),
            "ot=th:8;rv:9b8233f7e3a151;x:y,rojo=1,congo=2",
        ),
        ("rojo=1,ot=th:c;x:y,congo=2", raise("8"), "rojo=1,ot=th:c;x:y,congo=2"),
        ("rojo=1,ot=th:4;x:y,congo=2", ThresholdEdit::Erase, "ot=x:y,rojo=1,congo=2"),
        ("rojo=1,ot=th:4", ThresholdEdit::Erase, "rojo=1"),
        ("ot=th:4;rv:9b8233f7e3a151", ThresholdEdit::Erase, "ot=rv:9b8233f7e3a151"),
        ("ot=th:nonsense", raise("8"), "ot=th:8"),
        ("ot=th:nonsense", ThresholdEdit::Erase, ""),
        ("ot=th:nonsense", ThresholdEdit::Leave, "ot=th:nonsense"),
        ("ot=x:1", ThresholdEdit::Erase, "ot=x:1"),
        ("other=th:4", ThresholdEdit::Erase, "other=th:4"),
    ];
    for (before, edit, after) in cases {
        assert_eq!(edit_tracestate(before, edit), after, "{before:?} {edit:?}");
    }
}

#[test]
fn a_full_ot_value_gives_up_unknown_sub_keys_only() {
    let filler = format!("x:{};y:{}", "a".repeat(100), "b".repeat(130));
    let before = format!("ot={filler};rv:9b8233f7e3a151");
    let after = edit_tracestate(&before, ThresholdEdit::Raise(th("8")));
    assert_eq!(after, format!("ot=th:8;x:{};rv:9b8233f7e3a151", "a".repeat(100)));
}

#[test]
fn the_last_of_too_many_members_gives_way() {
    let before: Vec<String> = (0..32).map(|n| format!("v{n}=1")).collect();
    let after = edit_tracestate(&before.join(","), ThresholdEdit::Raise(th("8"))).into_owned();
    assert_eq!(after.split(',').count(), 32);
    assert!(after.starts_with("ot=th:8,v0=1,") && after.ends_with(",v30=1"));
}

#[test]
fn an_unknown_probability_counts_one() {
    assert_eq!(kept_tracestate("", &verdict(None, false)), (Cow::Borrowed(""), 1.0));
    assert_eq!(kept_tracestate("ot=th:c", &verdict(None, false)).1, 4.0);
    let (state, count) = kept_tracestate("ot=th:c", &verdict(None, true));
    assert_eq!((state.as_ref(), count), ("", 1.0));
}

proptest! {
    #[test]
    fn thresholds_read_back(value in 0u64..RANGE) {
        let threshold = Threshold::new(value).unwrap();
        prop_assert_eq!(Threshold::parse(&threshold.to_string()), Some(threshold));
    }

    #[test]
    fn rounding_stays_close(exponent in 0.0f64..50.0, precision in 1u32..14) {
        let probability = 2f64.powf(-exponent);
        let threshold = Threshold::from_probability(probability, precision).unwrap();
        let error = (threshold.probability() - probability).abs() / probability;
        let unit = threshold.adjusted_count() / RANGE as f64;
        prop_assert!(error <= 16f64.powi(1 - precision as i32) + unit, "{probability} {threshold} {error}");
    }

    #[test]
    fn editing_never_panics_and_never_lowers(state in "(ot=|th:|rv:|[0-9a-f;:,= x]){0,40}", value in 0u64..RANGE) {
        let threshold = Threshold::new(value).unwrap();
        let before = SamplingState::parse(&state);
        let after = edit_tracestate(&state, ThresholdEdit::Raise(threshold)).into_owned();
        let read = SamplingState::parse(&after);
        prop_assert_eq!(read.threshold, Some(threshold.equalize(before.threshold)));
        prop_assert_eq!(read.randomness, before.randomness);
        let erased = edit_tracestate(&state, ThresholdEdit::Erase).into_owned();
        prop_assert_eq!(SamplingState::parse(&erased).threshold, None);
    }
}
