#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::runtime::Tenant;

const WINDOW: Duration = Duration::from_secs(30);

fn member(name: &str) -> Member {
    Member::new(name)
}

fn ring(names: &[&str]) -> Ring {
    Ring::new(names.iter().map(|name| member(name)))
}

fn id(number: u64) -> TraceId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(number + 1).to_be_bytes());
    TraceId(id)
}

fn fingerprint(number: u64) -> Fingerprint {
    Fingerprint::of(&Tenant::default(), &id(number))
}

/// A gateway whose ring has long been this one.
fn settled(own: &str, names: &[&str]) -> Fleet {
    let mut fleet = Fleet::new(member(own), ring(names), WINDOW, 1 << 20, Duration::ZERO);
    fleet.turn(WINDOW, Duration::from_secs(31));
    fleet
}

#[test]
fn in_a_settled_fleet_owners_ask_nobody_and_others_ask_the_owner() {
    let mut a = settled("a:1", &["a:1", "b:1"]);
    assert!(a.is_settled());
    for number in 0..200 {
        let owner = ring(&["a:1", "b:1"]).owner(&id(number)).unwrap().clone();
        let expected = if owner == member("a:1") { Place::Mine } else { Place::Ask(owner) };
        assert_eq!(a.place(fingerprint(number), &id(number), |_| false), expected);
    }
}

#[test]
fn a_gateway_that_has_just_started_asks_whoever_would_be_there_without_it() {
    let mut a = Fleet::new(member("a:1"), ring(&["a:1", "b:1", "c:1"]), WINDOW, 1 << 20, Duration::ZERO);
    let before = ring(&["b:1", "c:1"]);
    for number in 0..100 {
        let expected = Place::Ask(before.owner(&id(number)).unwrap().clone());
        assert_eq!(a.place(fingerprint(number), &id(number), |_| false), expected);
    }
    // Alone there is nobody to ask.
    let mut alone = Fleet::new(member("a:1"), ring(&["a:1"]), WINDOW, 1 << 20, Duration::ZERO);
    assert_eq!(alone.place(fingerprint(1), &id(1), |_| false), Place::Mine);
}

#[test]
fn a_gateway_that_was_away_for_a_moment_goes_on_with_the_rings_it_knew() {
    let before = || Before {
        own: member("a:1"),
        at_unix_nano: 1_000_000_000,
        rings: vec![
            (ring(&["a:1", "b:1"]), Duration::from_secs(60)),
            (ring(&["a:1", "b:1", "c:1"]), Duration::from_secs(3)),
        ],
    };
    assert_eq!(Before::decode(&before().encode()), Some(before()));
    assert_eq!(Before::decode(b"{}"), None);
    let rings = before().resumed(&member("a:1"), WINDOW, 5_000_000_000).unwrap();
    assert_eq!(rings[1].1, Duration::from_secs(7));
    let now = Duration::from_secs(1000);
    let mut a = Fleet::new(member("a:1"), ring(&["a:1", "b:1", "c:1"]), WINDOW, 1 << 20, now);
    a.resume(rings.clone(), now);
    assert_eq!(a.ages(now), rings);
    // The last change was seven seconds ago.
    a.turn(WINDOW, now + WINDOW - Duration::from_secs(7));
    assert!(!a.is_settled());
    a.turn(WINDOW, now + WINDOW - Duration::from_secs(6));
    assert!(a.is_settled());
    // Away for too long, by another name, or the clock has gone back: as if it had never been there.
    assert_eq!(before().resumed(&member("a:1"), WINDOW, 32_000_000_000), None);
    assert_eq!(before().resumed(&member("b:1"), WINDOW, 5_000_000_000), None);
    assert_eq!(before().resumed(&member("a:1"), WINDOW, 0), None);
}

#[test]
fn who_has_left_in_order_is_not_waited_for() {
    let mut a = settled("a:1", &["a:1", "b:1"]);
    a.follow(ring(&["a:1"]), Duration::from_secs(40));
    let of_b = (0..100).find(|n| ring(&["a:1", "b:1"]).owner(&id(*n)) == Some(&member("b:1"))).unwrap();
    assert_eq!(a.place(fingerprint(of_b), &id(of_b), |_| false), Place::Ask(member("b:1")));
    assert_eq!(a.place(fingerprint(of_b), &id(of_b), |left| *left == member("b:1")), Place::Mine);
}

/// Several gateways, each with a view of its own of who is there, exchanging claims as the real ones do.
struct World {
    fleets: BTreeMap<&'static str, Fleet>,
    now: Duration,
    /// Who took spans of each trace.
    taken: BTreeMap<u64, BTreeSet<String>>,
}

const NAMES: [&str; 5] = ["a:1", "b:1", "c:1", "d:1", "e:1"];

impl World {
    fn new() -> Self {
        let three = &NAMES[..3];
        let fleets = three.iter().map(|own| (*own, settled(own, three))).collect();
        Self { fleets, now: Duration::from_secs(40), taken: BTreeMap::new() }
    }

    /// A gateway that is young asks the others about a trace that it does not know.
    fn look_around(&mut self, at: &'static str, number: u64, except: &str) {
        let Some(fleet) = self.fleets.get(at) else { return };
        if !fleet.is_young() || fleet.tell(fingerprint(number), |_| false).is_some() {
            return;
        }
        let others = self.fleets.iter().filter(|(name, _)| **name != at && **name != except);
        let told: Vec<_> =
            others.filter_map(|(_, other)| other.tell(fingerprint(number), |_| false).cloned()).collect();
        let fleet = self.fleets.get_mut(at).unwrap();
        told.into_iter().for_each(|member| fleet.learn(fingerprint(number), member, |_| false));
    }

    /// A gateway is killed and comes back at once: it knows what is in its log, and who the members were.
    fn restart(&mut self, at: &'static str, ring: Ring) {
        let before = Before { own: member(at), at_unix_nano: 5, rings: self.fleets[at].ages(self.now) };
        let before = Before::decode(&before.encode()).unwrap().resumed(&member(at), WINDOW, 5).unwrap();
        let mut fleet = Fleet::new(member(at), ring, WINDOW, 1 << 20, self.now);
        fleet.resume(before, self.now);
        let in_log = self.taken.iter().filter(|(_, takers)| takers.contains(at));
        in_log.for_each(|(number, _)| fleet.take(fingerprint(*number)));
        self.fleets.insert(at, fleet);
    }

    /// A span of the trace arrives at a gateway.
    fn arrive(&mut self, at: &'static str, number: u64) {
        self.look_around(at, number, at);
        let Some(fleet) = self.fleets.get_mut(at) else { return };
        let place = match fleet.place(fingerprint(number), &id(number), |_| false) {
            Place::Ask(arbiter) => {
                // It may not be up yet, or not any more: the sender tries again later.
                let Some(name) = NAMES.into_iter().find(|name| *name == arbiter.as_str()) else { return };
                self.look_around(name, number, at);
                let Some(other) = self.fleets.get_mut(name) else { return };
                let answer = other.claim(fingerprint(number), &id(number), &member(at), |_| false);
                let asker = self.fleets.get_mut(at).unwrap();
                asker.answered(fingerprint(number), &arbiter, answer, |_| false)
            }
            place => place,
        };
        let taker = match place {
            Place::Mine => at.to_owned(),
            Place::With(other) => {
                let Some((_, fleet)) = self.fleets.iter_mut().find(|(name, _)| **name == other.as_str())
                else {
                    return;
                };
                fleet.take(fingerprint(number));
                other.as_str().to_owned()
            }
            Place::Ask(_) => unreachable!("an answer is no question"),
        };
        self.taken.entry(number).or_default().insert(taker);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// One gateway joins, another drains, some are killed and come back; all see it at different times, spans arrive anywhere
    /// meanwhile. Nothing is split.
    #[test]
    fn no_trace_is_taken_by_two(
        sees_join in prop::collection::vec(0usize..120, 4),
        sees_drain in prop::collection::vec(60usize..180, 4),
        arrivals in prop::collection::vec((0usize..4, 0u64..40), 200),
        kills in prop::collection::btree_map(0usize..200, 0usize..4, 0..4),
    ) {
        let mut world = World::new();
        let (before, joined, drained) =
            (ring(&NAMES[..3]), ring(&NAMES[..4]), ring(&["b:1", "c:1", "d:1"]));
        // The one that joins is there before anybody sends to it.
        let fresh = Fleet::new(member("d:1"), joined.clone(), WINDOW, 1 << 20, world.now);
        world.fleets.insert("d:1", fresh);
        for (step, (at, number)) in arrivals.into_iter().enumerate() {
            world.now += Duration::from_millis(100);
            for (index, name) in NAMES[..4].iter().enumerate() {
                let joins = step >= sees_join[index] || *name == "d:1";
                // Whoever drains knows it first; the others hear of it after they have seen the other change.
                let drains = step >= sees_drain[index].max(sees_drain[0]) && joins;
                let seen = if drains { &drained } else if joins { &joined } else { &before };
                world.fleets.get_mut(name).unwrap().follow(seen.clone(), world.now);
                if kills.get(&step) == Some(&index) {
                    world.restart(name, seen.clone());
                }
            }
            world.arrive(NAMES[at], number);
        }
        for (number, takers) in &world.taken {
            prop_assert_eq!(takers.len(), 1, "trace {} is with {:?}", number, takers);
        }
    }

    #[test]
    fn claims_come_back_as_they_were_written(
        numbers in prop::collection::vec(0u64..9, 0..50),
        only_asks: bool,
    ) {
        let trace_ids = numbers.iter().map(|number| id(*number)).collect();
        let claim = Claim { asker: member("a:1"), tenant: Tenant::new("acme").unwrap(), trace_ids, only_asks };
        prop_assert_eq!(Claim::decode(&claim.encode()), Ok(claim));
        let answers = numbers.iter().map(|number| match number {
            0 => Answer::Mine,
            1 => Answer::Yours,
            n => Answer::Theirs(member(&format!("gateway-{n}:1"))),
        });
        let claimed = Claimed(answers.collect());
        prop_assert_eq!(Claimed::decode(&claimed.encode()), Ok(claimed));
    }

    #[test]
    fn other_bytes_are_an_error_or_a_claim(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = (Claim::decode(&bytes), Claimed::decode(&bytes));
    }
}
