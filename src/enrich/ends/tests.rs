use super::Ends;

fn ends(keys: &[&str]) -> Ends {
    let mut ends = Ends::none();
    keys.iter().for_each(|key| ends.add(key.as_bytes()));
    ends
}

#[test]
fn a_key_is_told_by_its_end_whatever_its_case_and_signs() {
    let ends = ends(&["token", "api_key", "x_"]);
    for key in ["token", "user.token", "accessTOKEN", "api-key", "API_KEY", "x-", "x_", "X-"] {
        assert!(ends.may_have(key.as_bytes()), "{key}");
    }
    for key in ["http.route", "user.id", "tokens", "server.address"] {
        assert!(!ends.may_have(key.as_bytes()), "{key}");
    }
}

#[test]
fn every_listed_key_is_found_behind_any_word() {
    for last in (b' '..=b'~').map(char::from) {
        for before in (b' '..=b'~').map(char::from) {
            let key = format!("{before}{last}");
            assert!(ends(&[&key]).may_have(format!("a.{key}").as_bytes()), "{key}");
        }
        assert!(ends(&[&last.to_string()]).may_have(format!("a.{last}").as_bytes()), "{last}");
    }
}

#[test]
fn what_is_too_short_to_tell_is_looked_at() {
    assert!(Ends::none().may_have(b""));
    assert!(Ends::none().may_have(b"a"));
    assert!(!Ends::none().may_have(b"ab"));
    assert!(Ends::all().may_have(b"anything"));
}
