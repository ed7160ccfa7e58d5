//! Whatever a client sends, it is an answer and never a panic.

use proptest::prelude::*;

use super::*;
use crate::auth::header::authorization;
use crate::auth::jwt::Token;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_header_is_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..200), scheme in "(Bearer |Basic |basic  )?") {
        let bytes = [scheme.as_bytes(), &value].concat();
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value);
            let _ = authorization(&headers);
        }
    }

    #[test]
    fn any_token_is_checked_or_refused(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5)) {
        let issuer = KeySet::default();
        let texts = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part));
        let text = texts.collect::<Vec<_>>().join(".");
        if let Ok(token) = Token::parse(&text) {
            prop_assert!(token.check(&issuer, &jwt_config(), NOW).is_err());
        }
    }

    #[test]
    fn any_text_as_a_token_is_refused(text in ".{0,200}") {
        if let Ok(token) = Token::parse(&text) {
            prop_assert!(token.check(&KeySet::default(), &jwt_config(), NOW).is_err());
        }
    }

    #[test]
    fn any_json_in_a_token_is_an_answer(header in json_value(), body in json_value()) {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}.AAAA", part(&header), part(&body));
        let _ = Token::parse(&text).map(|token| token.check(&KeySet::default(), &jwt_config(), NOW));
    }

    #[test]
    fn any_bytes_are_keys_or_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = KeySet::parse(&bytes);
        let _ = ClientCertificate::of(&bytes.into());
    }

    #[test]
    fn any_text_is_credentials_or_not(text in "(tokens|users|a)?:? ?.{0,200}") {
        let _ = Credentials::parse(&text);
        let _ = PasswordHash::parse(&text);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(ES256|none|.{0,10})".prop_map(Value::from),
    ];
    let key = "(alg|kid|exp|nbf|iss|aud|crit|scope|.{0,5})";
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
