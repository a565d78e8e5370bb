//! The guard's judgements of seeded random readings, held to digests of an earlier version.
//!
//! Numbers enter a digest with four digits: logarithms differ in the last one between platforms.

use super::{Guard, GuardConfig, Judgement, Preset, Response};
use crate::clip::{AutoClip, GlobalNormClip, ValueClip};
use crate::detect::testing::{Dice, Digest};
use crate::recover::RecoverConfig;
use crate::stats::{GradientStats, NamedStats, TensorStats};
use crate::{Decision, StepReading};

/// Readings of one stream.
const READINGS: u64 = 500;

/// What is wrong with a stretch of readings.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Nothing,
    Spike,
    LossSpike,
    LossBack,
    LossRises,
    NotANumber,
    Diverges,
    RateJumps,
    RateRises,
    WeightsMove,
    WeightsJump,
    WeightsLost,
    UpdateSpikes,
    Vanishes,
    Grows,
    Overshoots,
    Odd,
}

const FAULTS: [Fault; 17] = [
    Fault::Nothing,
    Fault::Spike,
    Fault::LossSpike,
    Fault::LossBack,
    Fault::LossRises,
    Fault::NotANumber,
    Fault::Diverges,
    Fault::RateJumps,
    Fault::RateRises,
    Fault::WeightsMove,
    Fault::WeightsJump,
    Fault::WeightsLost,
    Fault::UpdateSpikes,
    Fault::Vanishes,
    Fault::Grows,
    Fault::Overshoots,
    Fault::Odd,
];

fn config(dice: &mut Dice) -> GuardConfig {
    let mut config = GuardConfig::from(Preset::ALL[dice.below(4)]);
    if dice.one_in(2) {
        config = config.with_sensitivity(dice.share()).unwrap();
    }
    match dice.below(6) {
        0 => config = config.with_clip(GlobalNormClip::new(0.2 + 3.0 * dice.share())),
        1 => config = config.with_clip(AutoClip::default()),
        2 => config = config.with_clip(ValueClip { max_abs: 1.0 }),
        _ => {}
    }
    match dice.below(12) {
        0 => config.response = Response::Stop,
        1..6 => {
            let mut recover = RecoverConfig {
                max_consecutive_errors: 1 + dice.below(6),
                loss_patience: 1 + dice.below(6),
                level_patience: dice.below(30),
                cool_down: dice.below(12),
                max_rollbacks: dice.below(20),
                ..RecoverConfig::default()
            };
            recover.snapshots.interval = 1 + dice.below(20);
            recover.snapshots.probation = dice.below(8);
            config.response = Response::Recover(recover);
        }
        _ => {}
    }
    config
}

/// What is measured at one step, but the weights.
struct Row {
    loss: f64,
    norm: f64,
    rate: f64,
    update: f64,
    depth: Option<f64>,
    time: Option<f64>,
    after: Option<f64>,
}

struct Stream {
    dice: Dice,
    guard: Guard,
    fault: Fault,
    lasts: u64,
    since: i32,
    /// Applied steps, which the loss and the weights follow.
    trained: u64,
    weights: f64,
    noise: f64,
    /// Whether the messages' words enter the digest.
    texts: bool,
    digest: Digest,
}

impl Stream {
    fn new(seed: u64, texts: bool) -> Self {
        let mut dice = Dice::new(seed);
        Self {
            guard: Guard::new(config(&mut dice)).unwrap(),
            noise: [0.02, 0.1, 0.4][dice.below(3)],
            dice,
            fault: Fault::Nothing,
            texts,
            lasts: 40,
            since: 0,
            trained: 0,
            weights: 10.0,
            digest: Digest::default(),
        }
    }

    fn change_fault(&mut self) {
        if self.lasts > 0 {
            self.lasts -= 1;
            self.since += 1;
            return;
        }
        self.since = 0;
        let well = matches!(self.fault, Fault::Nothing);
        self.fault = FAULTS[if well {
            self.dice.below(FAULTS.len())
        } else {
            0
        }];
        self.lasts = [1, 4, 12, 40, 80][self.dice.below(5)];
    }

    fn swing(&mut self) -> f64 {
        1.0 + self.noise * (2.0 * self.dice.share() - 1.0)
    }

    /// A row of the run without a fault.
    fn row(&mut self) -> Row {
        let progress = 1.0 / (1.0 + self.trained as f64 / 30.0);
        let loss = (0.3 + 2.0 * progress) * self.swing();
        Row {
            loss,
            norm: (0.5 + progress) * self.swing(),
            rate: 0.01,
            update: 0.01 * self.swing(),
            depth: Some(0.1 * self.dice.share()),
            time: None,
            after: self.dice.one_in(2).then_some(loss * 0.99),
        }
    }

    /// Puts the fault into a row, or into the weights.
    fn spoil(&mut self, row: &mut Row) {
        let by = 2f64.powi(self.dice.below(20) as i32);
        match self.fault {
            Fault::Nothing => {}
            Fault::Spike => row.norm *= by,
            Fault::LossSpike => row.loss += 40.0 + by.min(64.0),
            Fault::LossBack => row.loss = 2.4 * self.swing(),
            Fault::LossRises => row.loss += 3.0 + f64::from(self.since),
            Fault::NotANumber => match self.dice.below(3) {
                0 => row.loss = f64::NAN,
                1 => row.norm = f64::NAN,
                _ => (row.loss, row.norm) = (f64::INFINITY, f64::INFINITY),
            },
            Fault::Diverges => {
                row.norm *= 1.4f64.powi(self.since);
                row.loss *= 1.05f64.powi(self.since);
            }
            Fault::RateJumps => row.rate = 1.0,
            Fault::RateRises => {
                row.rate *= 1.25f64.powi(self.since);
                if self.since > 14 {
                    row.loss += 4.0;
                }
            }
            Fault::WeightsMove => self.weights *= 1.01,
            Fault::WeightsJump if self.since == 0 => self.weights *= 100.0,
            Fault::WeightsJump => row.loss += 10.0,
            Fault::WeightsLost => self.weights = f64::NAN,
            Fault::UpdateSpikes => row.update *= by,
            Fault::Vanishes => row.norm *= 1e-12,
            Fault::Grows => (row.depth, row.time) = (Some(1.0), Some(0.3)),
            Fault::Overshoots => row.after = Some(row.loss * by),
            Fault::Odd => {
                let odd = [
                    f64::NAN,
                    f64::INFINITY,
                    -1.0,
                    0.0,
                    f64::MAX,
                    5e-324,
                    f64::MIN,
                ];
                let value = odd[self.dice.below(odd.len())];
                match self.dice.below(4) {
                    0 => row.loss = value,
                    1 => row.norm = value,
                    2 => row.rate = value,
                    _ => row.update = value,
                }
            }
        }
    }

    fn reading(&mut self, step: u64) -> StepReading {
        let mut row = self.row();
        self.spoil(&mut row);
        let norm = row.norm;
        let renamed = self.dice.one_in(60);
        let names = if renamed {
            ["x", "y", "z"]
        } else {
            ["a", "b", "c"]
        };
        let shares = [0.6f64, 0.64, 0.48];
        let tensors = names.iter().zip(shares).map(|(name, share)| NamedStats {
            name: (*name).into(),
            stats: TensorStats {
                tensor_norm: share * norm,
                max_abs: if norm.is_finite() { 0.1 * norm } else { 0.0 },
                len: 1000,
                non_finite: u64::from(!norm.is_finite()),
                ..TensorStats::default()
            },
        });
        let gradients = GradientStats {
            tensors: tensors.collect(),
        };
        let mut reading = StepReading::new(step, row.loss, row.rate, gradients)
            .with_weight_norms(shares.map(|share| share * self.weights).to_vec());
        if !self.dice.one_in(3) {
            reading = reading.with_update_norms(shares.map(|share| share * row.update).to_vec());
        }
        reading.loss_after = row.after;
        reading.depth_growth = row.depth;
        reading.time_growth = row.time;
        reading
    }

    fn step(&mut self, step: u64) {
        self.change_fault();
        let reading = self.reading(step);
        if self.guard.wants_snapshot(step) && !self.dice.one_in(20) {
            self.guard.snapshot_taken(step);
        }
        if let Some(quiet) = self.guard.quiet(reading.learning_rate) {
            self.digest.add(&format!(
                "{:.4e} {:.4e} {:.4e} {:.4e} {:.4e}",
                quiet.global_norm,
                quiet.loss,
                quiet.least_weight_norm,
                quiet.weight_norm,
                quiet.weight_rise
            ));
        }
        let judgement = self.guard.step(&reading);
        self.note(&judgement);
        self.act(step, judgement);
        if self.dice.one_in(20) {
            let text = serde_json::to_string(&self.guard).unwrap();
            let read: Guard = serde_json::from_str(&text).unwrap();
            assert_eq!(read, self.guard);
            self.guard = read;
        }
        if self.dice.one_in(400) {
            self.guard.forget_snapshots();
        }
    }

    fn act(&mut self, step: u64, mut judgement: Judgement) {
        if judgement.decision.applies() {
            self.trained += 1;
            self.weights *= 1.0 + 1e-4 * self.dice.share();
        }
        while let Decision::Rollback { to_step, .. } = judgement.decision {
            match self.dice.below(8) {
                0 => {
                    judgement = self.guard.rollback_failed(to_step, "torn");
                    self.note(&judgement);
                    continue;
                }
                1 => return,
                2..5 if self.guard.wants_abandoned() => self.guard.rolled_back_from(step, to_step),
                _ => self.guard.rolled_back(to_step),
            }
            self.weights = 10.0;
            return;
        }
    }

    fn note(&mut self, judgement: &Judgement) {
        let decision = match &judgement.decision {
            Decision::ScaleGlobal { coefficient } => format!("scale {coefficient:.4e}"),
            other => other.name().to_owned(),
        };
        if self.texts {
            self.digest
                .add(&format!("{:?}", judgement.decision.reason()));
            for seen in &judgement.detections {
                self.digest.add(&seen.message);
            }
        }
        let left = judgement.budgets_left;
        self.digest.add(&format!(
            "{:?} {decision} {:.4e} {} {} {} {:?} {:?} {}",
            judgement.rung,
            judgement.learning_rate_scale,
            left.skips,
            left.lowerings,
            left.rollbacks,
            self.guard.snapshots().collect::<Vec<_>>(),
            self.guard.last_good(),
            self.guard.wants_abandoned(),
        ));
        for seen in &judgement.detections {
            self.digest.add(&format!(
                "{:?} {:?} {} {:?} {:.4e} {:.4e}",
                seen.detector, seen.severity, seen.step, seen.place, seen.value, seen.threshold
            ));
        }
    }
}

fn digest(seeds: std::ops::Range<u64>, texts: bool, counts: &mut [u64; 3]) -> u64 {
    let mut all = Digest::default();
    for seed in seeds {
        let mut stream = Stream::new(seed, texts);
        (0..READINGS).for_each(|step| stream.step(step));
        let summary = stream.guard.summary();
        all.add(&format!("{:x} {summary:?}", stream.digest.value()));
        counts[0] += summary.rolled_back;
        counts[1] += summary.new_levels;
        counts[2] |= summary
            .detections
            .keys()
            .fold(0, |seen, one| seen | 1 << (*one as u64));
    }
    all.value()
}

/// Streams behind each digest below.
const STREAMS: u64 = 20;

const DIGESTS: [u64; 16] = [
    0x1390_f8dc_02e5_32dd,
    0x8fe3_a1b2_4b6d_4f89,
    0xe70c_6623_6e78_35b7,
    0xeb9d_24a5_8691_d3d3,
    0x61ee_380c_675b_5da7,
    0xa5ba_767f_dbbd_c910,
    0xbeaf_57ab_d6b7_daea,
    0x94bd_59b8_3d52_7f3f,
    0x527e_f3f2_7aee_92c9,
    0x477a_3124_4dd1_f26a,
    0xd386_b741_47db_6e0e,
    0xa804_bd63_a6c0_1029,
    0xa295_44dc_0e00_0a92,
    0xaa20_69e0_2ae1_1b7b,
    0xc67b_1119_3b39_150b,
    0x1ff4_2236_8ba9_cc57,
];

#[test]
fn the_guard_judges_as_it_did() {
    let mut counts = [0; 3];
    let found: Vec<u64> = (0..DIGESTS.len() as u64)
        .map(|group| digest(STREAMS * group..STREAMS * (group + 1), false, &mut counts))
        .collect();
    assert!(counts[0] > 100 && counts[1] > 10, "{counts:?}");
    // Every detector speaks.
    assert_eq!(counts[2], (1 << crate::detect::Detector::ALL.len()) - 1);
    assert_eq!(found, DIGESTS, "{found:#x?}");
}

/// More of the same, for a change of the guard's inside: compare what it prints before and after.
#[test]
#[ignore = "prints the digest of 5,000 streams"]
#[expect(clippy::print_stdout, reason = "a digest to compare")]
fn the_guard_on_many_streams() {
    println!("{:#x}", digest(1_000_000..1_005_000, true, &mut [0; 3]));
}
