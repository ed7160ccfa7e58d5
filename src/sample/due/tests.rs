use super::*;

fn due(hundredths: u64) -> Due {
    Due::at(Duration::from_millis(hundredths * 10))
}

#[test]
fn a_time_is_rounded_up_to_the_hundredth() {
    assert_eq!(Due::at(Duration::from_micros(10_001)).time(), Duration::from_millis(20));
    assert_eq!(Due::at(Duration::from_millis(20)).time(), Duration::from_millis(20));
    assert_eq!(Due::at(Duration::ZERO).time(), Duration::ZERO);
}

#[test]
fn the_earliest_comes_first_and_those_of_one_time_as_they_came() {
    let mut queue = DueQueue::default();
    for (time, slot) in [(5, 1), (3, 2), (5, 3), (9, 4), (3, 5)] {
        queue.push(due(time), slot);
    }
    assert_eq!((queue.first(), queue.len()), (Some(due(3)), 5));
    let now = due(5).time();
    let taken: Vec<u32> = std::iter::from_fn(|| queue.pop(now)).map(|(_, slot)| slot).collect();
    assert_eq!(taken, [2, 5, 1, 3]);
    assert_eq!((queue.first(), queue.len()), (Some(due(9)), 1));
    assert_eq!(queue.pop(due(8).time()), None);
    assert_eq!(queue.pop(due(9).time()), Some((due(9), 4)));
    assert_eq!((queue.first(), queue.len()), (None, 0));
}

#[test]
fn what_does_not_hold_is_forgotten() {
    let mut queue = DueQueue::default();
    (0..100).for_each(|slot| queue.push(due(u64::from(slot / 10)), slot));
    queue.retain(|time, slot| slot % 2 == 0 && time != due(0));
    assert_eq!((queue.first(), queue.len()), (Some(due(1)), 45));
    let taken: Vec<u32> = std::iter::from_fn(|| queue.pop(due(100).time())).map(|(_, slot)| slot).collect();
    assert_eq!(taken, (10..100).step_by(2).collect::<Vec<_>>());
}
