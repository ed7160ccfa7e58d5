//! The loss ledger, checkpoints, and dropped traces that are kept after all.

use super::*;
use crate::sample::records::encode_rescue;
use crate::sample::{Fingerprint, LiveTrace, Pinned, Rescued};

impl World {
    /// Dies, and reads only what a checkpoint does not tell: that must make no difference to reading everything.
    fn crash_with(&mut self, checkpoint: &Checkpoint) {
        self.crash(0);
        let (whole, live) = (self.sampler.accounts(), self.all_live());
        self.sampler = Sampler::new(config(), self.rulebook.clone());
        self.sampler.resume(checkpoint);
        let from = checkpoint.replay_from.0.max(1) as usize - 1;
        // What the decision ledger gives back.
        for rec in &self.log[..from] {
            match rec {
                Rec::Verdicts(payload) => decode_verdicts(payload).unwrap().iter().for_each(|d| {
                    self.sampler.seed(Fingerprint::of(&d.tenant, &d.trace_id), &d.verdict);
                }),
                Rec::Rescue(payload) => decode_rescue(payload).unwrap().iter().for_each(|d| {
                    self.sampler.seed(Fingerprint::of(&d.tenant, &d.trace_id), &d.verdict);
                }),
                _ => {}
            }
        }
        for (index, rec) in self.log.clone().iter().enumerate().skip(from) {
            self.apply(Position(index as u64 + 1), rec);
        }
        self.to_write = self.sampler.go_live();
        assert_eq!(self.sampler.accounts(), whole);
        assert_eq!(self.all_live(), live);
    }

    fn all_live(&self) -> Vec<LiveTrace> {
        self.sampler.live(&LiveFilter {
            tenant: Tenant::default(),
            trace_id: None,
            start_unix_nano: 0,
            end_unix_nano: u64::MAX,
            traces_max: usize::MAX,
        })
    }

    /// Answers the sampler's wishes, as whoever looks into the log does.
    fn rescue(&mut self) -> usize {
        let found: Vec<Rescued> = self
            .sampler
            .take_rescues()
            .into_iter()
            .map(|wish| {
                let places = self.places_of(wish.trace_id);
                Rescued {
                    tenant: wish.tenant,
                    trace_id: wish.trace_id,
                    verdict: wish.verdict,
                    spans: places.len() as u32,
                    bytes: 100 * places.len() as u64,
                    start_unix_nano: 1_000,
                    end_unix_nano: 2_000,
                    services: vec![(UNKNOWN_SERVICE.into(), places.len() as u32)],
                    places: places.into(),
                }
            })
            .collect();
        if !found.is_empty() {
            self.commit(Rec::Rescue(encode_rescue(&found)));
        }
        found.len()
    }

    fn places_of(&self, trace_id: TraceId) -> Vec<Position> {
        let of = |(at, rec): (usize, &Rec)| match rec {
            Rec::Spans(body) if self.rulebook.scan(body).unwrap().traces[0].trace_id == trace_id => {
                Some(Position(at as u64 + 1))
            }
            _ => None,
        };
        self.log.iter().enumerate().filter_map(of).collect()
    }

    fn account(&self) -> crate::sample::Account {
        self.sampler.accounts().remove(0).account
    }
}

#[test]
fn a_late_error_brings_the_whole_dropped_trace_back() {
    let mut world = World::new();
    world.spans(1, false, true);
    world.spans(1, false, false);
    world.now += second(3);
    world.decide();
    assert!(world.live(1).is_empty());
    world.spans(1, false, false);
    assert_eq!(world.rescue(), 0, "nothing about it asks for a rescue");
    world.spans(1, true, false);
    world.spans(1, false, false);
    assert_eq!(world.rescue(), 1);
    let verdict = world.sampler.verdict(&Tenant::default(), &id(1)).unwrap();
    assert!(verdict.keep);
    assert_eq!((&*verdict.rule, &*verdict.retention), ("errors", "errors"));
    world.spans(1, false, false);
    assert_eq!(world.rescue(), 0, "it is kept now");
    world.settle();
    assert_eq!(world.stored()[&id(1)].len(), 6);
    let account = world.account();
    assert_eq!((account.received, account.stored), (6, 6));
    assert_eq!(account.rescued, account.dropped_total());
    world.crash(0);
    world.settle();
    assert_eq!(world.stored()[&id(1)].len(), 6);
}

#[test]
fn spans_that_come_while_a_rescue_is_under_way_come_with_it() {
    let mut world = World::new();
    world.spans(1, false, true);
    world.now += second(3);
    world.decide();
    world.spans(1, true, false);
    let wish = world.sampler.take_rescues().remove(0);
    let looked_up = world.places_of(id(1));
    world.spans(1, false, false);
    let found = Rescued {
        tenant: wish.tenant,
        trace_id: wish.trace_id,
        verdict: wish.verdict,
        spans: 2,
        bytes: 200,
        start_unix_nano: 1_000,
        end_unix_nano: 2_000,
        services: vec![(UNKNOWN_SERVICE.into(), 2)],
        places: looked_up.into(),
    };
    world.commit(Rec::Rescue(encode_rescue(&[found])));
    world.settle();
    assert_eq!(world.stored()[&id(1)].len(), 3);
    // What came after the search was dropped, and comes back too.
    let account = world.sampler.accounts().remove(0).account;
    assert_eq!((account.received, account.dropped_total(), account.rescued, account.stored), (3, 3, 3, 3));
}

/// While a verdict is on its way to the log, spans still join the trace.
#[test]
fn an_error_that_comes_between_the_drop_and_its_record_brings_the_trace_back() {
    for crashes in [false, true] {
        let mut world = World::new();
        world.spans(1, false, true);
        world.spans(2, false, true);
        world.now += second(3);
        let dropped = world.sampler.tick(world.now).unwrap();
        assert!(dropped.iter().all(|one| !one.verdict.keep));
        world.spans(1, true, false);
        world.spans(2, false, false);
        world.commit(Rec::Verdicts(encode_verdicts(&dropped)));
        if crashes {
            world.crash(0);
        }
        assert!(world.sampler.low_watermark() <= Position(1), "its spans are to be found");
        assert_eq!(world.rescue(), 1);
        assert!(world.sampler.verdict(&Tenant::default(), &id(1)).unwrap().keep);
        world.settle();
        assert_eq!(world.stored()[&id(1)].len(), 2);
        assert!(!world.stored().contains_key(&id(2)), "nothing about it asks for a rescue");
        let account = world.account();
        assert_eq!(
            (account.received, account.dropped_total(), account.rescued, account.stored),
            (4, 4, 2, 2)
        );
        assert_eq!(world.sampler.low_watermark(), Position(world.log.len() as u64));
    }
}

/// The drop that a late span asks to record again may be behind the rescue in the log, and outlive it.
#[test]
fn a_rescue_holds_though_the_drop_is_recorded_behind_it() {
    let mut world = World::new();
    world.spans(1, false, true);
    world.now += second(3);
    world.decide();
    world.spans(1, true, false);
    let drop_again = world.sampler.tick(world.now).unwrap();
    assert!(!drop_again[0].verdict.keep);
    assert_eq!(world.rescue(), 1);
    world.commit(Rec::Verdicts(encode_verdicts(&drop_again)));
    world.decide();
    let behind = world.log.len() - 2;
    world.settle();
    // A restart that finds only the drop, and what was recorded behind it.
    world.crash(behind);
    assert!(world.sampler.verdict(&Tenant::default(), &id(1)).unwrap().keep);
}

/// Late parts of a kept trace are apart live, and may be one in replay: the batch is the same.
#[test]
fn a_batch_comes_again_with_the_same_places_though_parts_were_joined() {
    let mut world = World::new();
    world.spans(1, true, true);
    world.now += second(3);
    world.decide();
    world.plan();
    world.store();
    let from = world.log.len();
    world.spans(1, false, false);
    world.plan();
    world.spans(1, false, false);
    world.decide();
    world.write();
    // The verdict's first record is gone: both late parts wait for the one recorded behind them.
    world.crash(from);
    world.settle();
    assert_eq!(world.stored()[&id(1)].len(), 3);
}

#[test]
fn a_wish_that_cannot_be_fulfilled_is_counted_and_may_be_made_again() {
    let mut world = World::new();
    world.spans(1, false, true);
    world.now += second(3);
    world.decide();
    world.spans(1, true, false);
    assert_eq!(world.sampler.take_rescues().len(), 1);
    world.sampler.forget_rescue(&Tenant::default(), id(1));
    assert_eq!(world.sampler.stats().rescues_missed, 1);
    world.spans(1, true, false);
    assert_eq!(world.sampler.take_rescues().len(), 1);
}

/// A checkpoint must not leave behind what a wish is made by: after a crash nobody would wish again.
#[test]
fn a_wish_that_is_open_at_a_crash_is_made_again() {
    let mut world = World::new();
    world.spans(1, false, true);
    world.now += second(3);
    world.decide();
    let late = world.log.len();
    world.spans(1, true, false);
    world.decide();
    assert_eq!(world.sampler.take_rescues().len(), 1);
    let checkpoint = world.sampler.checkpoint();
    assert_eq!(checkpoint.replay_from, Position(late as u64 + 1));
    let dropped = world.sampler.verdict(&Tenant::default(), &id(1)).unwrap();
    world.sampler = Sampler::new(config(), world.rulebook.clone());
    world.sampler.resume(&checkpoint);
    world.sampler.seed(Fingerprint::of(&Tenant::default(), &id(1)), &dropped);
    for (index, rec) in world.log.clone().iter().enumerate().skip(late) {
        world.apply(Position(index as u64 + 1), rec);
    }
    world.sampler.go_live();
    assert_eq!(world.rescue(), 1);
    world.settle();
    assert_eq!(world.stored()[&id(1)].len(), 2);
    assert_eq!(world.sampler.low_watermark(), Position(world.log.len() as u64), "nothing is held any more");
    // One that cannot be fulfilled holds nothing either.
    world.spans(2, false, true);
    world.now += second(3);
    world.decide();
    world.spans(2, true, false);
    world.decide();
    assert!(world.sampler.low_watermark() < Position(world.log.len() as u64));
    world.sampler.forget_rescue(&Tenant::default(), id(2));
    assert_eq!(world.sampler.low_watermark(), Position(world.log.len() as u64));
}

#[test]
fn a_pin_decides_what_is_pending_and_tells_what_is_kept() {
    let mut world = World::new();
    world.spans(1, false, true);
    let pin = Verdict { rule: "pin".into(), retention: "pinned".into(), ..debug_verdict(1) };
    assert_eq!(world.sampler.pin(&Tenant::default(), id(1), pin.clone()), Pinned::Decided);
    world.decide();
    assert_eq!(world.live(1), [LiveState::Kept(Arc::new(pin.clone()))]);
    assert_eq!(
        world.sampler.pin(&Tenant::default(), id(1), pin.clone()),
        Pinned::Kept(Arc::new(pin.clone()))
    );
    assert_eq!(world.sampler.pin(&Tenant::default(), id(2), pin), Pinned::NotHere);
    world.settle();
    assert_eq!(world.stored()[&id(1)].len(), 1);
}

#[test]
fn spans_that_the_log_lost_are_counted_as_damaged() {
    let mut world = World::new();
    world.spans(1, true, false);
    world.spans(2, true, false);
    let checkpoint = world.sampler.checkpoint();
    // The first record is damaged: replay passes over it.
    world.sampler = Sampler::new(config(), world.rulebook.clone());
    world.sampler.resume(&checkpoint);
    let rec = world.log[1].clone();
    world.apply(Position(2), &rec);
    world.sampler.go_live();
    let account = world.account();
    assert_eq!((account.received, account.damaged, account.outstanding()), (2, 1, 1));
    assert_eq!(world.sampler.stats().spans_lost_in_log, 1);
}

/// Random histories: a restart from any checkpoint is the same as reading everything, and the ledger balances.
#[test]
fn a_restart_from_a_checkpoint_is_a_restart() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        let mut checkpoint = None;
        let mut received = 0;
        for _ in 0..rng.usize(20..150) {
            match rng.u8(0..22) {
                0..9 => {
                    world.spans(rng.u8(1..30), rng.u8(0..3) == 0, rng.u8(0..4) == 0);
                    received += 1;
                }
                9..12 => world.now += second(rng.u64(0..6)),
                12..14 => world.decide(),
                14 => drop(world.plan()),
                15..17 => world.store(),
                17 => drop(world.rescue()),
                18..20 => checkpoint = Some(world.sampler.checkpoint()),
                _ => match &checkpoint {
                    Some(checkpoint) => world.crash_with(&checkpoint.clone()),
                    None => world.crash(0),
                },
            }
        }
        world.settle();
        assert_eq!(world.account().received, received, "seed {seed}");
    }
}
