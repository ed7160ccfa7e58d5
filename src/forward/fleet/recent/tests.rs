use super::*;

#[test]
fn an_entry_lives_for_one_window_after_it_was_last_seen_and_two_at_most() {
    let window = Duration::from_secs(10);
    let mut recent = Recent::new(1 << 20);
    recent.turn(window, Duration::from_secs(100));
    recent.insert(1, 'a');
    recent.insert(2, 'b');
    recent.turn(window, Duration::from_secs(110));
    assert_eq!(recent.refresh(1), Some('a'));
    recent.turn(window, Duration::from_secs(120));
    assert_eq!((recent.refresh(1), recent.refresh(2)), (Some('a'), None));
}

#[test]
fn there_is_a_bound() {
    let mut recent = Recent::new(100 * 1024);
    (0..1_000_000).for_each(|key| recent.insert(key, ()));
    assert!(recent.len() <= 2 * recent.entries_max);
    assert!(recent.young.capacity() + recent.old.capacity() <= 100 * 1024 / 9);
    assert_eq!(recent.refresh(999_999), Some(()));
}
