//! Torn tails, flipped bytes, files that are not ours.

use super::*;

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Ten traces, each in a block of its own; in a young file, or sorted.
fn written(sorted: bool) -> (MemDisk, Arc<TestClock>, PathBuf) {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    for position in 1..=10 {
        note(&ledger, position, position, position);
        ledger.flush().unwrap();
    }
    if sorted {
        sort(&ledger, &clock);
    }
    (disk, clock, path(if sorted { "000000000001.run" } else { "000000000001.young" }))
}

/// How many of the ten are found; those that are, rightly.
fn found(ledger: &Ledger) -> usize {
    let found = (1..=10).filter_map(|trace| Some((trace, find(ledger, trace)?)));
    found.inspect(|(trace, found)| assert_eq!(*found, told(*trace, *trace))).count()
}

#[test]
fn a_flipped_byte_in_a_young_file_costs_one_block() {
    let (disk, clock, file) = written(false);
    let content = disk.get(&file);
    for at in 0..content.len() {
        let damaged = disk.copied();
        let mut bytes = content.clone();
        bytes[at] ^= 0x41;
        damaged.put(&file, &bytes);
        let ledger = open(&damaged, &clock);
        let (known, stats) = (found(&ledger), ledger.stats());
        if at < format::YOUNG_HEADER_BYTES {
            // Twelve to fifteen are zeros that nobody reads, but they are under the checksum.
            assert_eq!((known, stats.damaged), (0, 1), "byte {at}");
            assert_eq!(damaged.paths(), [path("000000000001.young.damaged")]);
        } else {
            assert_eq!(known, 9, "byte {at}");
        }
        note(&ledger, 50, 50, 1);
        ledger.flush().unwrap();
        sort(&ledger, &clock);
        let again = open(&damaged.crashed(0.0), &clock);
        assert_eq!((found(&again), find(&again, 50)), (known, Some(told(50, 1))), "byte {at}");
    }
}

#[test]
fn a_torn_tail_is_cut_off_and_writing_goes_on() {
    let (disk, clock, file) = written(false);
    let content = disk.get(&file);
    for length in 0..content.len() {
        let torn = disk.copied();
        torn.put(&file, &content[..length]);
        let ledger = open(&torn, &clock);
        let known = found(&ledger);
        assert_eq!(ledger.last(), (known > 0).then_some(Position(known as u64)), "{length} bytes");
        // This is how a write looks that was cut short.
        assert_eq!(ledger.stats().damaged, 0, "{length} bytes");
        note(&ledger, 50, 50, 1);
        ledger.flush().unwrap();
        let again = open(&torn.crashed(0.0), &clock);
        assert_eq!((found(&again), find(&again, 50)), (known, Some(told(50, 1))), "{length} bytes");
        assert_eq!(again.stats().damaged, 0, "{length} bytes");
    }
}

#[test]
fn a_flipped_byte_in_a_run_is_never_a_wrong_answer() {
    let (disk, clock, file) = written(true);
    let content = disk.get(&file);
    for at in 0..content.len() {
        let damaged = disk.copied();
        let mut bytes = content.clone();
        bytes[at] ^= 0x41;
        damaged.put(&file, &bytes);
        let ledger = open(&damaged, &clock);
        assert_eq!(found(&ledger), 0, "byte {at}: header, the page and the tail are all needed");
        assert!(ledger.stats().damaged > 0, "byte {at}");
        let mut given = 0;
        ledger.recent(100, Position(u64::MAX), |_, _| given += 1);
        assert_eq!(given, 0, "byte {at}");
    }
}

#[test]
fn damage_in_one_page_leaves_the_others() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    let record: Vec<_> = (0..3_000).map(|trace| decided(trace, 2)).collect();
    ledger.append(Position(1), 1_000, &record);
    ledger.flush().unwrap();
    sort(&ledger, &clock);
    let file = path("000000000001.run");
    let mut bytes = disk.get(&file);
    bytes[format::RUN_HEADER_BYTES + 4 * format::PAGE_BYTES + 100] ^= 1;
    disk.put(&file, &bytes);
    let known = (0..3_000).filter(|trace| find(&ledger, *trace) == Some(told(1, 2))).count();
    // A search that begins in the damaged page ends there, although the trace may be in the next one.
    assert!((3_000 - 2 * format::PAGE_ENTRIES..=3_000 - format::PAGE_ENTRIES).contains(&known), "{known}");
    let mut given = 0;
    ledger.recent(10_000, Position(2), |_, _| given += 1);
    assert_eq!(given, 3_000 - format::PAGE_ENTRIES);
}

#[test]
fn what_cannot_be_used_is_put_aside_and_what_is_not_ours_is_left_alone() {
    let (disk, clock, _) = written(true);
    let ours = ["000000000002.run", "000000000003.young", "000000000004.young", "000000000005.run"];
    for name in ours {
        disk.put(&path(name), b"TWDECRUN and then something else");
    }
    // Begun, and the machine went down.
    disk.put(&path("000000000006.young"), b"");
    let foreign = ["notes.txt", "1.young", "00000000000x.run", "000000000009.run.bak"];
    foreign.iter().for_each(|name| disk.put(&path(name), b"mine"));
    let ledger = open(&disk, &clock);
    assert_eq!((found(&ledger), ledger.stats().damaged), (10, 4));
    note(&ledger, 50, 50, 1);
    ledger.flush().unwrap();
    let names: Vec<_> =
        disk.paths().iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(foreign.iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    assert!(ours.iter().all(|name| names.contains(&format!("{name}.damaged"))), "{names:?}");
    // At the next start there is nothing new to complain about; a few are kept for somebody to look at.
    let again = open(&disk, &clock);
    assert_eq!((found(&again), again.stats().damaged), (10, 0));
    assert_eq!(disk.paths().iter().filter(|p| p.extension().unwrap() == "damaged").count(), 4);
}

#[test]
fn a_sector_that_cannot_be_read_costs_what_lies_there() {
    let (disk, clock, file) = written(false);
    let middle = disk.get(&file).len() as u64 / 2;
    let ledger = open(&disk, &clock);
    disk.faults(|faults| faults.bad_offset = Some(middle));
    assert!((1..10).contains(&found(&ledger)));
    disk.faults(|faults| faults.bad_offset = Some(0));
    assert_eq!(found(&ledger), 0);
    assert!(ledger.stats().damaged > 0);
}

#[test]
fn without_its_files_it_begins_anew() {
    let (disk, clock, file) = written(true);
    let ledger = open(&disk, &clock);
    disk.remove(&file).unwrap();
    assert_eq!((found(&ledger), ledger.stats().damaged), (0, 0));
    note(&ledger, 50, 50, 1);
    ledger.flush().unwrap();
    assert_eq!(find(&ledger, 50), Some(told(50, 1)));
}
