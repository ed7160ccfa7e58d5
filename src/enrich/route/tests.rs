#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn ids_are_taken_out_of_paths() {
    for (path, route) in [
        ("/", "/"),
        ("/users/123", "/users/{id}"),
        ("/users/7/orders/8/", "/users/{id}/orders/{id}/"),
        ("/a/550e8400-e29b-41d4-a716-446655440000/b", "/a/{id}/b"),
        ("/commit/3f2a9c1/diff", "/commit/{id}/diff"),
        ("/commit/deadbee1", "/commit/{id}"),
        ("/face/decade", "/face/decade"),
        ("/t/4bf92f3577b34da6a3ce929d0e0e4736", "/t/{id}"),
        ("/s/dGhpc0lzQTE", "/s/dGhpc0lzQTE"),
        ("/s/dGhpc0lzQTEyMw==", "/s/{id}"),
        ("/orders/ord-99231?x=1", "/orders/{id}"),
        ("/reports/2024-01-15", "/reports/{id}"),
        ("/geo/-12.5,7.25", "/geo/{id}"),
        ("/api/v1/oauth2/us-east-1/h264", "/api/v1/oauth2/us-east-1/h264"),
        ("/u/jane@example.com", "/u/{id}"),
        ("/search/hello%20world", "/search/{id}"),
        ("/shop;jsessionid=ABC123/cart", "/shop/cart"),
        ("/wörter/x", "/{id}/x"),
        ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
        ("/api/payments.internal.list_all", "/api/payments.internal.list_all"),
        ("/a//b", "/a//b"),
        ("/1/2/3/4/5/6/7/8/9/10/11/12", "/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{rest}"),
    ] {
        assert_eq!(route_of(path).as_deref(), Some(route), "{path}");
        assert_eq!(
            route_of(route).as_deref().map(|r| r.matches('/').count()),
            Some(route.matches('/').count())
        );
    }
    assert_eq!(route_of(""), None);
    assert_eq!(route_of("*"), None);
    assert_eq!(route_of("example.com:443"), None);
}

#[test]
fn names_that_say_no_more_than_the_path_are_replaced() {
    let name = |name| name_of(name, "GET", "/users/1?q=2", "/users/{id}");
    for old in ["", "GET", "HTTP GET", "GET /users/1", "/users/1", "GET /users/1?q=2"] {
        assert_eq!(name(old).as_deref(), Some("GET /users/{id}"), "{old}");
    }
    for kept in ["checkout", "GET /users/{id}", "GETTER", "GET /users/2"] {
        assert_eq!(name(kept), None, "{kept}");
    }
    assert_eq!(name_of("", "", "/a", "/a").as_deref(), Some("/a"));
}

proptest! {
    #[test]
    fn a_route_is_a_short_path(target in "/?[ -~é]{0,60}(/[0-9a-zA-Z%;@-]{0,50}){0,14}") {
        if let Some(route) = route_of(&target) {
            prop_assert!(route.starts_with('/'));
            prop_assert!(route.matches('/').count() <= SEGMENTS_MAX + 1);
            prop_assert!(!route.contains(['?', '#', ';', '@', '%']));
        }
    }
}
