use super::is_ascii;

#[test]
fn ascii_is_what_the_library_says_wherever_another_byte_is() {
    for length in 0..100 {
        let mut bytes = vec![0x7f; length];
        assert!(is_ascii(&bytes), "{length}");
        for at in 0..length {
            for other in [0x80, 0xff] {
                bytes[at] = other;
                assert!(!is_ascii(&bytes), "{at} of {length}");
                bytes[at] = 0x7f;
            }
        }
    }
}
