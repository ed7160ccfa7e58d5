//! JSON web tokens.

use super::*;

#[tokio::test]
async fn a_signed_token_is_the_tenant_and_the_scopes_of_its_claims() {
    let issuer = IssuerKeys::new();
    let gate = gate_for(&issuer);
    for header in
        [json!({"alg": "ES256", "kid": "p"}), json!({"alg": "EdDSA", "kid": "e"}), json!({"alg": "EdDSA"})]
    {
        let token = issuer.sign(&header, &claims(json!({})));
        let admitted = admit(&gate, &bearer(&token), Scope::Write).await.unwrap();
        assert_eq!((admitted.tenant, &*admitted.name), (tenant("home"), "ci"), "{header}");
        assert!(admit(&gate, &bearer(&token), Scope::Read).await.is_ok());
        assert_eq!(admit(&gate, &bearer(&token), Scope::Admin).await, Err(DeniedReason::Scope));
    }
    let many = issuer.token(&claims(json!({"org": {"tenant": ["home", "shop"]}, "scope": ["write"]})));
    let named = headers(&[("authorization", &format!("Bearer {many}")), (TENANT_HEADER, "shop")]);
    assert_eq!(admit(&gate, &named, Scope::Write).await.unwrap().tenant, tenant("shop"));
}

#[tokio::test]
async fn each_wrong_claim_is_refused() {
    let issuer = IssuerKeys::new();
    let gate = gate_for(&issuer);
    for (change, reason) in [
        (json!({"exp": NOW - 61}), DeniedReason::Expired),
        (json!({"exp": null}), DeniedReason::Claims),
        (json!({"exp": "tomorrow"}), DeniedReason::Claims),
        (json!({"nbf": NOW + 61}), DeniedReason::NotYet),
        (json!({"nbf": "x"}), DeniedReason::Malformed),
        (json!({"iss": "https://evil.example"}), DeniedReason::Claims),
        (json!({"iss": null}), DeniedReason::Claims),
        (json!({"aud": "other"}), DeniedReason::Claims),
        (json!({"aud": ["tracewell2"]}), DeniedReason::Claims),
        (json!({"aud": null}), DeniedReason::Claims),
        (json!({"org": {}}), DeniedReason::Claims),
        (json!({"org": {"tenant": "../home"}}), DeniedReason::Claims),
        (json!({"org": {"tenant": ["home", "a/b"]}}), DeniedReason::Claims),
        (json!({"scope": "openid writer"}), DeniedReason::Scope),
        (json!({"scope": 7}), DeniedReason::Scope),
    ] {
        let token = issuer.token(&claims(change.clone()));
        assert_eq!(admit(&gate, &bearer(&token), Scope::Write).await, Err(reason), "{change}");
    }
    // Clocks may be apart.
    for change in [json!({"exp": NOW - 59}), json!({"nbf": NOW + 59}), json!({"exp": NOW as f64 + 0.5})] {
        let token = issuer.token(&claims(change.clone()));
        assert!(admit(&gate, &bearer(&token), Scope::Write).await.is_ok(), "{change}");
    }
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_checked() {
    let issuer = IssuerKeys::new();
    let gate = gate_for(&issuer);
    let good = claims(json!({}));
    let point = URL_SAFE_NO_PAD.encode(issuer.p256.public_key().as_ref());
    for (header, reason) in [
        (json!({"alg": "none"}), DeniedReason::Malformed),
        (json!({"alg": "None", "kid": "p"}), DeniedReason::Malformed),
        (json!({"alg": "HS256", "kid": "p"}), DeniedReason::Malformed),
        (json!({"kid": "p"}), DeniedReason::Malformed),
        (json!({"alg": "ES256", "kid": "p", "crit": ["exp"]}), DeniedReason::Malformed),
        // The key of the other algorithm, and one that is not there.
        (json!({"alg": "EdDSA", "kid": "p"}), DeniedReason::Signature),
        (json!({"alg": "RS256", "kid": "p"}), DeniedReason::Signature),
        (json!({"alg": "ES256", "kid": "x"}), DeniedReason::Signature),
    ] {
        let token = issuer.sign(&header, &good);
        assert_eq!(admit(&gate, &bearer(&token), Scope::Write).await, Err(reason), "{header}");
    }
    // An HMAC with the public key as its secret.
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "p"})), part(&good));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, point.as_bytes());
    let tag = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    let confused = format!("{signed}.{tag}");
    assert_eq!(admit(&gate, &bearer(&confused), Scope::Write).await, Err(DeniedReason::Malformed));
    // A good signature under other claims.
    let (mine, other) = (issuer.token(&good), issuer.token(&claims(json!({"scope": "admin"}))));
    let (mine, other): (Vec<_>, Vec<_>) = (mine.split('.').collect(), other.split('.').collect());
    let mixed = format!("{}.{}.{}", mine[0], other[1], mine[2]);
    assert_eq!(admit(&gate, &bearer(&mixed), Scope::Admin).await, Err(DeniedReason::Signature));
}

#[tokio::test]
async fn a_token_signed_with_rsa_is_checked() {
    // RFC 7515, appendix A.2: key, header `{"alg":"RS256"}`, claims of "joe".
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let set = |alg: &str| json!({ "keys": [{ "kty": "RSA", "n": n, "e": "AQAB", "alg": alg }] }).to_string();
    let gate = gate_for(&IssuerKeys::new());
    gate.install_keys(KeySet::parse(set("RS256").as_bytes()).unwrap());
    // The signature is right; what it says is over.
    assert_eq!(admit(&gate, &bearer(token), Scope::Write).await, Err(DeniedReason::Expired));
    let forged = token.replace(".cC4h", ".cC4i");
    assert_eq!(admit(&gate, &bearer(&forged), Scope::Write).await, Err(DeniedReason::Signature));
    assert!(KeySet::parse(set("RS512").as_bytes()).is_err(), "a key for another algorithm");
}

#[test]
fn sets_without_a_key_to_use_are_refused() {
    for text in ["", "[]", "{}", r#"{"keys": []}"#, r#"{"keys": [{"kty": "oct", "k": "AAAA"}, 7]}"#] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    let mut set = IssuerKeys::new().jwks();
    set["keys"][0]["use"] = json!("enc");
    assert_eq!(KeySet::parse(set.to_string().as_bytes()).unwrap().len(), 1);
}
