//! Properties over generated, damaged and random requests.

use proptest::collection::vec;
use proptest::prelude::*;

use super::generated::{configs, is_secret, requests};
use super::reference::{Reference, normalize};
use super::*;

/// Whether the stage agrees with the reference on these bytes; both may refuse them.
fn agrees(
    config: &EnrichConfig,
    detected: &[Detected],
    secret: &dyn Fn(&str) -> bool,
    body: Bytes,
) -> Result<(), TestCaseError> {
    let mut enricher = Enricher::new(config, detected);
    if config.redact.hash_key.is_some() {
        enricher = enricher.with_hash_key(b"a key of the operator");
    }
    let headers = [("x-tenant", "home"), ("authorization", "Bearer of-nothing")];
    let headers: http::HeaderMap =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let sender = Sender { client: Some([192, 0, 2, 7].into()), headers: Some(&headers) };
    let Ok(enriched) = enricher.apply_from(sender, body.clone()) else {
        return Ok(());
    };
    let mut expected = ExportTraceServiceRequest::decode(body.clone())
        .map_err(|error| TestCaseError::fail(format!("accepted what does not decode: {error}")))?;
    let spans = count(&expected);
    let redactor = &enricher.rules.redactor;
    Reference { config, detected, secret, redactor, sender }.apply(&mut expected);
    let mut edited = decode(&enriched);
    prop_assert_eq!(enriched.spans, count(&expected));
    prop_assert_eq!(enriched.rejected, spans - count(&expected));
    prop_assert_eq!(enriched.reject_reason.is_some(), enriched.rejected > 0);
    normalize(&mut expected);
    normalize(&mut edited);
    // Compared as bytes: NaN, which damage can produce, is not equal to itself.
    prop_assert!(edited.encode_to_vec() == expected.encode_to_vec(), "{edited:?}\nis not\n{expected:?}");
    Ok(())
}

fn count(request: &ExportTraceServiceRequest) -> u64 {
    let scopes = request.resource_spans.iter().flat_map(|resource_spans| &resource_spans.scope_spans);
    scopes.map(|scope_spans| scope_spans.spans.len() as u64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn editing_bytes_is_decoding_editing_and_encoding(
        request in requests(true),
        (config, detected) in configs(),
    ) {
        let body = body_of(&request);
        prop_assert!(Enricher::new(&config, &detected).apply(body.clone()).is_ok());
        agrees(&config, &detected, &is_secret, body)?;
    }

    #[test]
    fn what_needs_no_change_comes_out_as_the_same_buffer(request in requests(false)) {
        let body = body_of(&request);
        let enriched = with_actions(vec![]).apply(body.clone()).unwrap();
        prop_assert_eq!(enriched.body.as_ptr(), body.as_ptr());
        prop_assert_eq!((enriched.redacted, enriched.rejected), (0, 0));
    }

    #[test]
    fn enriching_twice_is_enriching_once(request in requests(true)) {
        let detected = [found("host.name", "h")];
        let enricher = Enricher::new(&EnrichConfig::default(), &detected);
        let once = enricher.apply(body_of(&request)).unwrap().body;
        let twice = enricher.apply(once.clone()).unwrap();
        prop_assert_eq!(once.as_ptr(), twice.body.as_ptr());
        prop_assert_eq!(twice.redacted, 0);
    }

    #[test]
    fn damaged_requests_are_refused_or_understood(
        request in requests(true),
        (mut config, detected) in configs(),
        cut in any::<prop::sample::Index>(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in flips.iter().filter(|_| !request.resource_spans.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        // Maps are hashed as they lie on the wire, and damaged ones can be written in other ways too.
        config.redact.hash_key = None;
        // Damage makes keys that no list here knows.
        let matcher = Matcher::compile(&config.redact);
        let secret = |key: &str| matcher.find(key.as_bytes()).is_some();
        agrees(&config, &detected, &secret, Bytes::copy_from_slice(&bytes))?;
        bytes.truncate(cut.index(bytes.len() + 1));
        agrees(&config, &detected, &secret, bytes.into())?;
    }

    #[test]
    fn random_bytes_are_refused_or_understood(
        bytes in vec(any::<u8>(), 0..200),
        (mut config, detected) in configs(),
    ) {
        config.redact.hash_key = None;
        agrees(&config, &detected, &is_secret, bytes.into())?;
    }
}
