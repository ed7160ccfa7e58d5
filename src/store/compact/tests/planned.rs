#![allow(clippy::unwrap_used)]

use object_store::path::Path;

use super::super::plan::*;
use super::super::ranges::*;
use crate::runtime::{Random, SeededRandom};
use crate::store::table::DataFile;
use crate::store::tests::fixtures::{DAY, NOW};

const MIB: u64 = 1 << 20;
const HOUR_MS: i64 = 3_600_000;
const NOW_MS: i64 = (NOW / 1_000_000) as i64;

fn rules() -> PlanRules {
    PlanRules { target: 256 * MIB, gather: 16, settle_ms: 3 * HOUR_MS, open_max: 24, unit_bytes: 1_024 * MIB }
}

/// A file of today over all ids, committed so many hours ago.
fn file(name: &str, bytes: u64, hours_ago: i64) -> DataFile {
    DataFile {
        in_log: name.to_owned(),
        object: Path::from(name),
        bytes,
        rows: 1,
        retention: "default".into(),
        day: (NOW / DAY) as i64,
        trace_id_min: Some(format!("{:032x}", 1u128 << 100)),
        trace_id_max: Some(format!("{:032x}", u128::MAX - (1 << 100))),
        start_min_unix_nano: 0,
        start_max_unix_nano: 0,
        duration_max_nano: 0,
        service_min: None,
        service_max: None,
        names_services: false,
        committed_ms: NOW_MS - hours_ago * HOUR_MS,
    }
}

/// The same of another day, over a part of the ids in 256ths.
fn part(name: &str, bytes: u64, days_ago: i64, first: u32, last: u32) -> DataFile {
    DataFile {
        day: (NOW / DAY) as i64 - days_ago,
        trace_id_min: Some(format!("{first:02x}{}", "0".repeat(30))),
        trace_id_max: Some(format!("{last:02x}{}", "f".repeat(30))),
        ..file(name, bytes, days_ago * 24 - 8)
    }
}

fn names(unit: &Unit) -> Vec<&str> {
    unit.inputs.iter().map(|f| f.in_log.as_str()).collect()
}

#[test]
fn small_files_of_an_hour_that_is_over_are_merged_and_large_ones_left() {
    let files = [
        file("a", MIB, 1),
        file("b", 2 * MIB, 1),
        file("large", 200 * MIB, 1),
        file("other-hour", MIB, 2),
        file("now", MIB, 0),
        file("now-too", MIB, 0),
    ];
    let units = plan(&files, &rules(), NOW);
    assert_eq!(units.len(), 1);
    assert_eq!((names(&units[0]), units[0].reason), (vec!["a", "b"], Reason::Hour));
}

#[test]
fn this_hours_files_are_merged_when_many_of_a_size_have_gathered() {
    let of = |count: usize| (0..count).map(|n| file(&format!("f{n}"), 3 * MIB, 0)).collect::<Vec<_>>();
    assert!(plan(&of(15), &rules(), NOW).is_empty());
    let units = plan(&of(16), &rules(), NOW);
    assert_eq!((units.len(), units[0].inputs.len(), units[0].reason), (1, 16, Reason::Gathered));
    // Of two sizes eight each are not many.
    let mut files = of(8);
    files.extend((0..8).map(|n| file(&format!("g{n}"), 30 * MIB, 0)));
    assert!(plan(&files, &rules(), NOW).is_empty());
    // More than can be open at once: the smallest first.
    let mut files = of(30);
    files[29].bytes = 2 * MIB;
    let units = plan(&files, &rules(), NOW);
    assert_eq!(units[0].inputs.len(), 24);
    assert!(names(&units[0]).contains(&"f29"));
}

#[test]
fn a_day_that_is_over_is_made_disjoint() {
    let files = [
        part("a", 100 * MIB, 1, 0, 100),
        part("b", 300 * MIB, 1, 50, 120),
        part("alone", 250 * MIB, 1, 121, 200),
        part("small", MIB, 1, 201, 220),
        part("small-too", MIB, 1, 221, 255),
    ];
    let units = plan(&files, &rules(), NOW);
    let found: Vec<_> = units.iter().map(names).collect();
    assert_eq!(found, [vec!["a", "b"], vec!["small", "small-too"]]);
    assert!(units.iter().all(|u| u.reason == Reason::Day));
    // Disjoint and large, or the only small one: left alone.
    assert!(plan(&files[2..4], &rules(), NOW).is_empty());
    // Not over yet.
    let yesterday_evening = NOW - 7 * 3_600_000_000_000;
    assert!(plan(&files, &rules(), yesterday_evening).iter().all(|u| u.reason == Reason::Hour));
}

#[test]
fn what_comes_late_waits_for_a_quiet_time_that_grows() {
    let end_ms = (NOW_MS / (24 * HOUR_MS)) * 24 * HOUR_MS;
    let late_by =
        |hours: i64| DataFile { committed_ms: end_ms + hours * HOUR_MS, ..part("late", MIB, 1, 0, 255) };
    let at = |hours: i64| ((end_ms + hours * HOUR_MS) * 1_000_000) as u64;
    let day = part("day", 500 * MIB, 1, 0, 255);
    for (late, now, merged) in [
        (1, 3, false),
        (1, 4, true),
        (4, 6, false),
        (4, 7, true),
        (40, 59, false),
        (40, 60, true),
        (700, 1_000, false),
    ] {
        let units = plan(&[day.clone(), late_by(late)], &rules(), at(now));
        assert_eq!(!units.is_empty(), merged, "late by {late} h, now {now} h");
    }
}

#[test]
fn a_day_larger_than_a_unit_is_cut_first() {
    let files: Vec<_> = (0..40).map(|n| part(&format!("f{n:02}"), 200 * MIB, 1, 0, 255)).collect();
    let units = plan(&files, &rules(), NOW);
    assert_eq!((units.len(), units[0].reason, units[0].inputs.len()), (1, Reason::Cut, 5));
    let cuts = units[0].cuts.unwrap();
    let pieces: Vec<_> = (0..256u128).map(|n| cuts.piece(n << 120)).collect();
    assert_eq!((pieces[0], pieces[255]), (0, 15));
    assert!(pieces.is_sorted());
}

#[test]
fn files_without_bounds_or_day_are_no_trap() {
    let unknown = DataFile { trace_id_min: None, trace_id_max: Some("zz".into()), ..part("u", MIB, 1, 0, 1) };
    let files = [unknown, part("a", MIB, 1, 3, 5)];
    assert_eq!(plan(&files, &rules(), NOW)[0].inputs.len(), 2);
    let nowhere = DataFile { day: i64::MAX / 2, ..file("n", MIB, 30) };
    assert!(plan(&[nowhere.clone(), nowhere], &rules(), NOW).is_empty());
}

/// What a unit leaves, as the merge promises it: no more files than the target asks for, disjoint, within the cuts.
fn done(unit: &Unit, rules: &PlanRules, number: usize) -> Vec<DataFile> {
    let range = unit.inputs.iter().map(IdRange::of).reduce(IdRange::union).unwrap();
    let bytes = unit.bytes();
    let pieces = match unit.cuts {
        Some(cuts) => (cuts.piece(range.last) - cuts.piece(range.first) + 1) as u64,
        None => bytes.div_ceil(rules.target),
    };
    let step = (range.last - range.first) / u128::from(pieces) + 1;
    let piece = |n: u64| {
        let first = range.first + step * u128::from(n);
        let last = (first + (step - 1)).min(range.last);
        DataFile {
            in_log: format!("out{number}.{n}"),
            bytes: bytes / pieces,
            trace_id_min: Some(format!("{first:032x}")),
            trace_id_max: Some(format!("{last:032x}")),
            committed_ms: unit.committed_ms(),
            ..unit.inputs[0].clone()
        }
    };
    (0..pieces).map(piece).collect()
}

#[test]
fn it_ends_and_writes_each_byte_a_few_times_only() {
    for seed in 0..4 {
        let random = SeededRandom::new(seed);
        let rules = PlanRules { open_max: 6 + random.below(20) as usize, ..rules() };
        let mut files: Vec<DataFile> = Vec::new();
        let (mut written, mut merged, mut rounds) = (0, 0, 0);
        // A day of batches, each minute one, and some late ones; then a week of quiet.
        let midnight = NOW / DAY * DAY;
        for minute in (0..2_880u64).chain((2_880..9 * 1_440).step_by(60)) {
            let now = midnight + minute * 60_000_000_000;
            let is_late = minute > 1_440 && minute < 2_880 && random.below(200) == 0;
            if minute < 1_440 || is_late {
                let bytes = (1 + random.below(8)) * MIB * if is_late { 1 } else { 1 + seed % 3 };
                written += bytes;
                let committed_ms = (now / 1_000_000) as i64;
                files.push(DataFile { committed_ms, ..file(&format!("in{minute}"), bytes, 0) });
            }
            loop {
                let units = plan(&files, &rules, now);
                let Some(unit) = units.first() else { break };
                rounds += 1;
                assert!(rounds < 20_000, "it does not end");
                merged += unit.bytes();
                files.retain(|f| unit.inputs.iter().all(|i| i.in_log != f.in_log));
                files.extend(done(unit, &rules, rounds));
            }
        }
        let all: Vec<&DataFile> = files.iter().collect();
        assert_eq!(components(&all).len(), files.len(), "not disjoint");
        assert!(files.len() as u64 <= 3 * written.div_ceil(rules.target) + 2, "{} files", files.len());
        assert!(merged <= 14 * written, "seed {seed}: each byte is written {} times", merged / written);
    }
}
