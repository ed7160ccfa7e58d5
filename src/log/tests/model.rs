use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(bool, usize)>),
    FullDisk { free: u64 },
    RoomAgain,
    FailSync,
    FailDirSync,
    Release { share: f64 },
    PowerCut { kept: f64 },
}

fn step() -> impl Strategy<Value = Step> {
    let batch = prop::collection::vec((any::<bool>(), 0..800usize), 1..6);
    prop_oneof![
        12 => batch.prop_map(Step::Append),
        1 => (0..3000u64).prop_map(|free| Step::FullDisk { free }),
        2 => Just(Step::RoomAgain),
        1 => Just(Step::FailSync),
        1 => Just(Step::FailDirSync),
        1 => (0.0..1.0f64).prop_map(|share| Step::Release { share }),
        2 => (0.0..=1.0f64).prop_map(|kept| Step::PowerCut { kept }),
    ]
}

/// What must be in the log: every acknowledged record, until it is released.
#[derive(Default)]
struct Model {
    acknowledged: Vec<(Position, Vec<u8>)>,
    /// The last batch that was refused may come back if the power goes before anything is written behind it.
    doubtful: Vec<Vec<u8>>,
    released_below: Position,
    appended: u64,
}

impl Model {
    fn append(&mut self, rig: &mut Rig, batch: &[(bool, usize)]) {
        let records: Vec<Encoded> = batch
            .iter()
            .map(|(is_spans, bytes)| {
                self.appended += 1;
                if *is_spans { spans(self.appended, *bytes) } else { control(self.appended) }
            })
            .collect();
        for (outcome, record) in rig.put_all(&records).into_iter().zip(&records) {
            match outcome {
                Ok(position) => {
                    self.doubtful.clear();
                    self.acknowledged.push((position, record.payload().to_vec()));
                }
                Err(_) => self.doubtful.push(record.payload().to_vec()),
            }
        }
        rig.clock.advance(rig.config.retry_after);
    }

    fn check_replay(&mut self, rig: &mut Rig) {
        let seen = rig.replayed();
        let stats = rig.stats();
        assert_eq!(stats.damaged, 0, "nothing was damaged, only unfinished");
        let kept = |position: Position| position >= self.released_below.min(stats.oldest);
        for (position, payload) in self.acknowledged.iter().filter(|(position, _)| kept(*position)) {
            let found = seen.iter().find(|record| record.position == *position);
            assert_eq!(&found.expect("an acknowledged record is lost").payload[..], &payload[..]);
        }
        let known = |record: &&Record| self.acknowledged.iter().any(|(p, _)| *p == record.position);
        let (_, ghosts): (Vec<&Record>, Vec<&Record>) = seen.iter().partition(known);
        for ghost in &ghosts {
            assert!(self.doubtful.iter().any(|payload| payload[..] == ghost.payload[..]), "invented");
        }
        // From now on they are in the log like the others.
        let ghosts: Vec<_> =
            ghosts.into_iter().map(|ghost| (ghost.position, ghost.payload.to_vec())).collect();
        self.acknowledged.extend(ghosts);
        self.acknowledged.sort();
        self.doubtful.clear();
    }
}

fn run(steps: &[Step]) {
    let recorder = Recorder { age: Duration::ZERO, size_bytes: 0 };
    let mut rig = Rig::new(LogConfig { segment_bytes: 3_000, recorder, ..config() });
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(batch) => model.append(&mut rig, batch),
            Step::FullDisk { free } => {
                let used: usize = rig.segments().iter().map(|path| rig.disk.get(path).len()).sum();
                rig.disk.faults(|f| (f.capacity, f.tells_space) = (used as u64 + free, false));
            }
            Step::RoomAgain => rig.disk.faults(|f| f.capacity = 1 << 40),
            Step::FailSync => rig.disk.faults(|f| f.syncs_to_fail = 1),
            Step::FailDirSync => rig.disk.faults(|f| f.dir_syncs_to_fail = 1),
            Step::Release { share } => {
                let below = Position((rig.stats().durable.0 as f64 * share) as u64);
                model.released_below = model.released_below.max(below);
                let _ = rig.log.handle.release(below);
            }
            Step::PowerCut { kept } => {
                rig = rig.restarted(*kept);
                model.check_replay(&mut rig);
            }
        }
        for (position, payload) in &model.acknowledged {
            match rig.log.reader.read(*position) {
                Ok(record) => assert_eq!(record.payload[..], payload[..]),
                Err(ReadError::Released) => assert!(*position < model.released_below),
                Err(other) => panic!("{position}: {other}"),
            }
        }
    }
    rig = rig.restarted(0.0);
    model.check_replay(&mut rig);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever fails and whenever the power goes: what was acknowledged and not released is there, in order, and nothing
    /// else but perhaps the last unanswered batch.
    #[test]
    fn acknowledged_records_survive(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}
