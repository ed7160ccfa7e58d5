use super::*;

fn progress() -> Progress {
    let ring = |names: &[&str]| Ring::new(names.iter().map(|name| Member::new(name)));
    let epochs = Epochs::of(vec![(Position(0), ring(&["a:1"])), (Position(700), ring(&["a:1", "b:1"]))]);
    let lanes = vec![(Member::new("a:1"), Position(650)), (Member::nobody(), Position(700))];
    Progress { epochs: epochs.expect("in order"), lanes }
}

#[test]
fn it_comes_back_as_it_was_written() {
    let bytes = progress().encode("log-1");
    assert_eq!(Progress::decode("log-1", &bytes), Some(progress()));
}

#[test]
fn another_logs_or_a_damaged_one_is_none() {
    let bytes = progress().encode("log-1");
    assert_eq!(Progress::decode("log-2", &bytes), None);
    for cut in 0..bytes.len() {
        assert_eq!(Progress::decode("log-1", &bytes[..cut]), None);
        let mut flipped = bytes.clone();
        flipped[cut] ^= 1;
        assert_eq!(Progress::decode("log-1", &flipped), None);
    }
}
