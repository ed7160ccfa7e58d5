#![allow(clippy::unwrap_used)]

use super::*;

fn account(received: u64, dropped: u64) -> Account {
    Account {
        received,
        stored: received - dropped,
        dropped: [("baseline".into(), dropped)].into(),
        ..Account::default()
    }
}

#[test]
fn sums_by_tenant_and_shows_the_largest_services() {
    let tenant = Tenant::new("acme").unwrap();
    let of = |n: u64| AccountOf {
        tenant: tenant.clone(),
        service: format!("service-{n}").into(),
        account: account(10 * n, n),
    };
    let ledger = LossLedger { accounts: (0..200).map(of).collect(), expired: [(tenant.clone(), 3)].into() };
    let told = status(&ledger);
    let acme = &told["acme"];
    assert_eq!((acme["received"].as_u64(), acme["dropped"].as_u64()), (Some(199_000), Some(19_900)));
    assert_eq!((acme["outstanding"].as_i64(), acme["expired"].as_u64()), (Some(0), Some(3)));
    assert_eq!(acme["dropped_by_rule"]["baseline"], 19_900);
    let services = acme["services"].as_object().unwrap();
    assert_eq!(services.len(), SERVICES_SHOWN);
    assert_eq!(services["service-199"]["received"], 1990);
    assert!(!services.contains_key("service-1"));
}
