#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn names_keep_their_numbers_and_too_many_share_one() {
    let services = Services::default();
    assert_eq!(services.number(""), 0);
    assert_eq!(&*services.name(0), UNKNOWN_SERVICE);
    let shop = services.number("shop");
    assert_eq!(services.number("shop"), shop);
    assert_eq!(&*services.name(shop), "shop");
    for n in 0..2 * SERVICES_MAX {
        services.number(&format!("service-{n}"));
    }
    assert_eq!(services.number("shop"), shop, "those known before keep theirs");
    assert_eq!(&*services.name(services.number("one too many")), OTHER_SERVICES);
}

#[test]
fn long_names_are_cut_between_characters() {
    let services = Services::default();
    let long = "ü".repeat(1000);
    let number = services.number(&long);
    assert_eq!(services.number(&"ü".repeat(999)), number);
    assert!(services.name(number).len() <= NAME_BYTES_MAX);
}

#[test]
fn counts_add_up_by_service() {
    let of = |service, spans| ServiceSpans { service, spans };
    let mut services = vec![of(2, 1)];
    add_services(&mut services, &[of(3, 4), of(2, 2)]);
    assert_eq!(services, [of(2, 3), of(3, 4)]);
}
