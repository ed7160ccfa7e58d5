use super::*;

#[test]
fn who_has_left_is_remembered_after_it_is_off_the_list_and_forgotten_in_the_end() {
    let (states, gone) = (States::default(), Member::new("gone:1"));
    let others = Ring::new([Member::new("a:1"), Member::new("b:1")]);
    states.heard(&gone, GatewayState::Draining);
    states.keep_only(&others);
    assert_eq!((states.leaves(&gone), states.has_left(&gone)), (true, false), "it still answers");
    assert_eq!(states.leaving(), std::slice::from_ref(&gone));
    (0..3).for_each(|_| states.silent(&gone));
    states.keep_only(&others);
    assert!(states.has_left(&gone));
    (0..FORGOTTEN_AFTER).for_each(|_| states.silent(&gone));
    states.keep_only(&others);
    assert!(states.leaving().is_empty());
    // Back again under its name.
    states.heard(&gone, GatewayState::Draining);
    states.heard(&gone, GatewayState::Serving);
    assert!(!states.leaves(&gone));
}
