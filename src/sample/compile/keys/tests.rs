#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn keys_are_found_by_length_and_content() {
    let long = "k".repeat(200);
    let keys = ["", "a", "b", "http.route", "http.method", long.as_str()];
    let slot = |key: &&str| Slot { key: (*key).into(), ..Slot::default() };
    let table = Keys::new(keys.iter().map(slot).collect());
    for key in keys {
        let index = table.find(key.as_bytes()).unwrap();
        assert_eq!(&*table.slots[index].key, key);
    }
    for key in ["c", "http.routf", "http.route.", &"k".repeat(199), &"k".repeat(64)] {
        assert_eq!(table.find(key.as_bytes()), None, "{key:?}");
    }
}
