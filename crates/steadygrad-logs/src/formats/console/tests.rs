//! What trainers print, a few lines each.

use std::path::Path;

use steadygrad::Trace;
use steadygrad::trace::{Cadence, Objective, Role, StepUnit};

use crate::Columns;

fn read(text: &str) -> Result<Trace, crate::LogError> {
    super::read(
        Path::new("train.log"),
        &mut text.as_bytes(),
        &Columns::default(),
    )
}

fn of(text: &str) -> Trace {
    read(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn series(trace: &Trace, role: &Role) -> (Vec<u64>, Vec<f64>) {
    let series = trace
        .series(role)
        .unwrap_or_else(|| panic!("no {role:?} in {trace:?}"));
    (series.steps().to_vec(), series.values().to_vec())
}

/// The loss at its steps.
fn loss(trace: &Trace) -> Vec<(u64, f64)> {
    let (steps, values) = series(trace, &Role::Loss);
    steps.into_iter().zip(values).collect()
}

#[track_caller]
fn reads(text: &str, expected: &[(u64, f64)], unit: StepUnit, cadence: Cadence) -> Trace {
    let trace = of(text);
    assert_eq!(loss(&trace), expected, "{text}");
    assert_eq!((trace.unit, trace.cadence), (unit, cadence), "{text}");
    trace
}

const STEP: StepUnit = StepUnit::Step;

#[test]
fn hugging_face() {
    let text = "{'loss': 2.5, 'grad_norm': 1.5, 'learning_rate': 1e-05, 'epoch': 0.01}\n\
                {'loss': 2.25, 'grad_norm': nan, 'learning_rate': 2e-05, 'epoch': 0.02}\n\
                {'eval_loss': 2.0, 'eval_runtime': 3.5, 'epoch': 0.02}\n\
                {'loss': 2.0, 'grad_norm': 1.0, 'learning_rate': 3e-05, 'epoch': 0.03}\n\
                {'train_runtime': 5.0, 'train_loss': 2.2, 'epoch': 0.03}\n";
    let expected = [(0, 2.5), (1, 2.25), (2, 2.0)];
    let trace = reads(text, &expected, StepUnit::Row, Cadence::Unknown);
    assert!(series(&trace, &Role::GradNorm).1[1].is_nan());
    assert_eq!(series(&trace, &Role::ValidationLoss), (vec![1], vec![2.0]));
}

#[test]
fn hugging_face_between_bars() {
    let mut text = String::new();
    for row in 1..=5 {
        text += &format!(
            "\r  1%|▏   | {}/500 [00:01<00:09,  2.0it/s]\r  1%|▏   | {}/500 [00:01<00:09,  \
                2.0it/s]\n\
             {{'loss': {row}.5, 'learning_rate': 1e-05, 'epoch': 0.1}}\n\
             \r 50%|█   | 3/6 [00:01<00:09,  2.0it/s]\n{{'eval_loss': 1.5, 'epoch': 0.1}}\n",
            row * 25 - 3,
            row * 25
        );
    }
    let expected = [(25, 1.5), (50, 2.5), (75, 3.5), (100, 4.5), (125, 5.5)];
    reads(&text, &expected, STEP, Cadence::Steps(25));
}

#[test]
fn llama_factory_prints_each_row_twice() {
    let text = "01/02/2025 10:00:00 - INFO - x.callbacks - {'loss': 1.1235, 'learning_rate': \
                1.9950e-03, 'epoch': 0.02}\n\
                {'loss': 1.12345, 'grad_norm': 0.5, 'learning_rate': 0.001995, 'epoch': 0.02}\n\
                01/02/2025 10:00:09 - INFO - x.callbacks - {'loss': 1.0235, 'learning_rate': \
                1.9900e-03, 'epoch': 0.04}\n\
                {'loss': 1.02345, 'grad_norm': 0.25, 'learning_rate': 0.00199, 'epoch': 0.04}\n";
    let trace = reads(
        text,
        &[(0, 1.12345), (1, 1.02345)],
        StepUnit::Row,
        Cadence::Unknown,
    );
    assert_eq!(series(&trace, &Role::GradNorm).1, [0.5, 0.25]);
}

#[test]
fn ms_swift() {
    let text = "{'loss': 1.5, 'grad_norm': 2.5, 'learning_rate': 1e-06, 'memory(GiB)': 45.1, \
                'train_speed(iter/s)': 0.1, 'epoch': 0.01, 'global_step/max_steps': '5/900', \
                'percentage': '0.56%', 'elapsed_time': '1m 2s'}\n\
                {'loss': 1.25, 'grad_norm': 2.0, 'learning_rate': 2e-06, 'memory(GiB)': 45.1, \
                'train_speed(iter/s)': 0.1, 'epoch': 0.02, 'global_step/max_steps': '10/900', \
                'percentage': '1.1%', 'elapsed_time': '2m 2s'}\n";
    reads(text, &[(5, 1.5), (10, 1.25)], STEP, Cadence::Steps(5));
}

#[test]
fn nanogpt() {
    let text = "found vocab_size = 65\nstep 0: train loss 4.2, val loss 4.3\n\
                iter 0: loss 4.25, time 1098.73ms, mfu -100.00%\n\
                iter 10: loss nan, time 98.73ms, mfu 15.33%\n\
                iter 20: loss 3.5, time 98.73ms, mfu 15.33%\n\
                step 20: train loss 3.4, val loss 3.6\niter 30: loss 3.25, time 9ms, mfu 15%\n";
    let trace = of(text);
    let (steps, values) = series(&trace, &Role::Loss);
    assert_eq!(steps, [0, 10, 20, 30]);
    assert!(values[0] == 4.25 && values[1].is_nan() && values[3] == 3.25);
    assert_eq!(trace.cadence, Cadence::Steps(10));
    assert_eq!(
        series(&trace, &Role::ValidationLoss),
        (vec![0, 20], vec![4.3, 3.6])
    );
}

#[test]
fn megatron_and_gpt_neox() {
    let text = " [2025-03-02 09:15:30] iteration      100/  5000 | consumed samples:   2560 | \
                elapsed time per iteration (ms): 12.5 | learning rate: 1.5E-05 | lm loss: \
                4.5E+00 | loss scale: 65536.0 | grad norm: 0.5 | number of skipped \
                iterations:   1 | number of nan iterations:   0 |\n\
                 [2025-03-02 09:17:40] iteration      200/  5000 | consumed samples:   5120 | \
                elapsed time per iteration (ms): 13.5 | learning rate: 3.0E-05 | lm loss: \
                4.25E+00 | loss scale: 65536.0 | grad norm: 0.25 | number of skipped \
                iterations:   0 | number of nan iterations:   0 |\n\
                 validation loss at iteration 200 | lm loss value: 4.75E+00 | lm loss PPL: \
                1.7E+02 | \n";
    let trace = reads(text, &[(100, 4.5), (200, 4.25)], STEP, Cadence::Steps(100));
    assert_eq!(series(&trace, &Role::GradNorm).1, [0.5, 0.25]);
    assert_eq!(series(&trace, &Role::Skipped).1, [1.0, 0.0]);
    assert_eq!(series(&trace, &Role::LossScale).1, [65536.0, 65536.0]);
    assert_eq!(
        series(&trace, &Role::ValidationLoss),
        (vec![200], vec![4.75])
    );
    let text = " samples/sec: 10.5 | iteration       1/     320 | elapsed time per iteration \
                (ms): 95.1 | learning rate: 2.0E-06 | approx flops per GPU: 1.2TFLOPS | \
                lm_loss: 1.5E+01 | number of skipped iterations:   0 | number of nan \
                iterations:   0 |\n\
                 samples/sec: 11.5 | iteration       2/     320 | elapsed time per iteration \
                (ms): 95.2 | learning rate: 4.0E-06 | approx flops per GPU: 1.2TFLOPS | \
                lm_loss: 1.25E+01 | number of skipped iterations:   0 | number of nan \
                iterations:   0 |\n";
    reads(text, &[(1, 15.0), (2, 12.5)], STEP, Cadence::Step);
}

#[test]
fn skipped_updates_of_deepspeed_and_apex() {
    let text = "step: 1 loss: 3.5\n\
                [2023-04-18 09:01:11,402] [INFO] [loss_scaler.py:181:update_scale] [deepspeed] \
                OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768\n\
                step: 3 loss: 3.25\n\
                Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 16384.0\n\
                step: 5 loss: 3.0\n";
    let trace = of(text);
    assert_eq!(loss(&trace), [(1, 3.5), (3, 3.25), (5, 3.0)]);
    let skipped = series(&trace, &Role::Skipped);
    assert_eq!(
        skipped,
        (vec![1, 2, 3, 4, 5], vec![0.0, 1.0, 0.0, 1.0, 0.0])
    );
    assert_eq!(
        series(&trace, &Role::LossScale),
        (vec![2, 4], vec![32768.0, 16384.0])
    );
    let text = "Step 10 | Loss: 0.5 | GradNorm: 2.5\nStep 11: spiky gradient (norm=9.5); \
                skipping optimizer step.\nStep 20 | Loss: 0.25 | GradNorm: 1.5\n";
    let trace = of(text);
    assert_eq!(
        series(&trace, &Role::GradNorm),
        (vec![10, 11, 20], vec![2.5, 9.5, 1.5])
    );
    assert_eq!(series(&trace, &Role::Skipped).1, [0.0, 1.0, 0.0]);
}

#[test]
fn fairseq_old_new_and_json() {
    let text = "| epoch 001:   100 / 1000 loss=9.5, ppl=663.73, wps=18004, num_updates=101, \
                lr=0.25, gnorm=2.5, clip=100%\n\
                | epoch 001:   200 / 1000 loss=9.25 (9.4), ppl=663.73, wps=18004, \
                num_updates=201, lr=0.25, gnorm=inf, clip=100%\n\
                | epoch 001 | loss 9.3 | nll_loss 9.1 | ppl 663 | num_updates 201\n\
                | epoch 001 | valid on 'valid' subset | loss 9.1 | ppl 500 | num_updates 201\n";
    let trace = reads(text, &[(101, 9.5), (201, 9.25)], STEP, Cadence::Steps(100));
    assert_eq!(series(&trace, &Role::GradNorm).1, [2.5, f64::INFINITY]);
    assert_eq!(
        series(&trace, &Role::ValidationLoss),
        (vec![201], vec![9.1])
    );
    let text = "2020-10-12 10:00:00 | INFO | train_inner | epoch 001:     10 / 99 loss=12.5, \
                nll_loss=11.5, num_updates=10, lr=1e-05, gnorm=3.5, loss_scale=128\n\
                2020-10-12 10:00:01 | INFO | train_inner | epoch 001:     20 / 99 loss=12.25, \
                nll_loss=11.25, num_updates=20, lr=2e-05, gnorm=3.0, loss_scale=128\n\
                2020-10-12 10:00:02 | INFO | fairseq.trainer | NOTE: gradient overflow \
                detected, ignoring gradient, setting loss scale to: 64.0\n";
    let trace = of(text);
    assert_eq!(loss(&trace), [(10, 12.5), (20, 12.25)]);
    assert_eq!(
        series(&trace, &Role::LossScale),
        (vec![10, 20, 21], vec![128.0, 128.0, 64.0])
    );
    let text = "2020-02-07 13:01:07 | INFO | train | {\"epoch\": 1, \"train_loss\": \"12.5\", \
                \"train_num_updates\": \"327\", \"train_gnorm\": \"0.5\"}\n\
                2020-02-07 13:01:09 | INFO | valid | {\"epoch\": 1, \"valid_loss\": \"12.75\", \
                \"valid_num_updates\": \"327\"}\n\
                2020-02-07 13:02:07 | INFO | train | {\"epoch\": 2, \"train_loss\": \"11.5\", \
                \"train_num_updates\": \"654\", \"train_gnorm\": \"0.25\"}\n";
    let trace = reads(text, &[(327, 12.5), (654, 11.5)], STEP, Cadence::Epoch);
    assert_eq!(series(&trace, &Role::GradNorm).1, [0.5, 0.25]);
}

#[test]
fn keras_two_and_three() {
    let text = "Epoch 1/3\n\r 1/10 [==>...........] - ETA: 0s - loss: 1.75\r10/10 [==========] \
                - 1s 1ms/step - loss: 1.5 - val_loss: 1.9\n\
                Epoch 2/3\n\r 1/10 [==>...........] - ETA: 0s - loss: 1.35\r10/10 [==========] \
                - 1s 1ms/step - loss: 1.25 - val_loss: 1.8\n";
    let trace = reads(
        text,
        &[(1, 1.5), (2, 1.25)],
        StepUnit::Epoch,
        Cadence::Epoch,
    );
    assert_eq!(
        series(&trace, &Role::ValidationLoss),
        (vec![1, 2], vec![1.9, 1.8])
    );
    let text = "Epoch 1/2\n\r\u{1b}[1m1/63\u{1b}[0m \u{1b}[37m━━━━━━\u{1b}[0m \
                \u{1b}[1m10s\u{1b}[0m 170ms/step - accuracy: 0.5 - loss: \
                0.75\u{8}\u{8}\r\u{1b}[1m63/63\u{1b}[0m \u{1b}[32m━━━━━━\u{1b}[0m \
                \u{1b}[1m1s\u{1b}[0m 3ms/step - accuracy: 0.5 - loss: 0.5 - val_loss: 0.6\n\
                Epoch 2/2\n\r\u{1b}[1m63/63\u{1b}[0m \u{1b}[32m━━━━━━\u{1b}[0m \
                \u{1b}[1m1s\u{1b}[0m 3ms/step - accuracy: 0.5 - loss: 0.25 - val_loss: 0.5\n";
    reads(
        text,
        &[(1, 0.5), (2, 0.25)],
        StepUnit::Epoch,
        Cadence::Epoch,
    );
    let text = "Epoch 1/2\n63/63 - 1s - loss: 0.75 - val_loss: 0.5 - 1s/epoch\nEpoch 2/2\n63/63 \
                - 1s - loss: 0.5 - val_loss: 0.5 - 1s/epoch\n";
    reads(
        text,
        &[(1, 0.75), (2, 0.5)],
        StepUnit::Epoch,
        Cadence::Epoch,
    );
}

#[test]
fn torchtitan() {
    let text = "[rank0]:[titan] 2025-04-04 14:27:26,509 - root - INFO - \u{1b}[31mstep:  1  \
                \u{1b}[32mloss: 12.25  \u{1b}[38;2;180;60;0mgrad_norm:  4.5  \u{1b}[34mtps: \
                10,051  \u{1b}[35mmfu: 14.09%\u{1b}[39m\n\
                [rank0]:[titan] 2025-04-04 14:27:42,518 - root - INFO - \u{1b}[31mstep: 10  \
                \u{1b}[32mloss:     nan  \u{1b}[38;2;180;60;0mgrad_norm:     nan  \
                \u{1b}[34mtps: 10,060  \u{1b}[35mmfu: 14.09%\u{1b}[39m\n";
    let trace = of(text);
    let (steps, values) = series(&trace, &Role::Loss);
    assert!(steps == [1, 10] && values[0] == 12.25 && values[1].is_nan());
    assert_eq!(series(&trace, &Role::GradNorm).1[0], 4.5);
}

#[test]
fn lightning_and_other_bars() {
    let bar = |epoch: u32, at: u32, loss: f64| {
        format!(
            "\rEpoch {epoch}:  12%|█▎   | {at}/40 [00:02<00:18, 18.18it/s, v_num=0, \
                train_loss={loss}, val_loss=9.5]"
        )
    };
    let text = [
        bar(0, 10, 2.5),
        bar(0, 20, 2.25),
        bar(0, 20, 2.125),
        bar(1, 10, 2.0),
        bar(1, 20, 1.5),
    ]
    .concat();
    let expected = [(10, 2.5), (20, 2.125), (50, 2.0), (60, 1.5)];
    reads(&text, &expected, STEP, Cadence::Steps(10));
    let text = "\r 10%|█  | 1/10 [00:00<00:01, 9.1it/s, loss=0.5]\r 20%|██  | 2/10 \
                [00:00<00:01, 9.1it/s, loss=0.25]\r 30%|██  | 3/10 [00:00<00:01, 9.1it/s, \
                loss=0.125]\n";
    reads(
        text,
        &[(1, 0.5), (2, 0.25), (3, 0.125)],
        STEP,
        Cadence::Step,
    );
}

#[test]
fn tables_of_stable_baselines() {
    let row = |iteration: u32, loss: f64| {
        format!(
            "-----------------------------\n| rollout/       |          |\n|    ep_rew_mean | \
                1.18e+04 |\n\
             | time/          |          |\n|    iterations  | {iteration}        |\n|    \
                total_timesteps | {}   |\n\
             | train/         |          |\n|    approx_kl   | 0.25     |\n|    loss        | \
                {loss}   |\n|    value_loss  | 0.5      |\n-----------------------------\n",
            iteration * 2048
        )
    };
    let trace = of(&[row(2, 0.5), row(3, -0.25), row(4, 0.125)].concat());
    assert_eq!(loss(&trace), [(2, 0.5), (3, -0.25), (4, 0.125)]);
    assert_eq!(
        (trace.objective, trace.cadence),
        (Objective::Rl, Cadence::Unknown)
    );
    assert_eq!(series(&trace, &Role::Kl).1, [0.25; 3]);
    assert_eq!(series(&trace, &Role::Reward).1, [11800.0; 3]);
}

#[test]
fn blocks_of_rsl_rl() {
    let row = |iteration: u32, value: f64| {
        format!(
            "########################\n                 Learning iteration {iteration}/1000     \
                \n\n\
             Computation: 57600 steps/s (collection: 1.551s, learning 0.147s)\n    Mean action \
                noise std: 0.61\n\
             Mean value_function loss: {value}\n    Mean surrogate loss: -0.0062\n    Mean \
                reward: 21.5\n\
             ------------------------\n   Total timesteps: 235929\n   ETA: 12920.0s\n\n"
        )
    };
    let trace = of(&[row(7, 0.5), row(8, 0.25), row(9, f64::NAN)].concat());
    let (steps, values) = series(&trace, &Role::ValueLoss);
    assert!(steps == [7, 8, 9] && values[0] == 0.5 && values[2].is_nan());
    assert_eq!((trace.objective, trace.unit), (Objective::Rl, STEP));
    assert_eq!(series(&trace, &Role::Reward).1, [21.5; 3]);
}

#[test]
fn columns_of_yolo() {
    let text = "\n      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size\n\
                \r       1/20      4.05G      1.75      2.5      1.5         16        640:  \
                50%|█████     | 12/24 [00:03<00:03,  3.57it/s]\r       1/20      4.05G      \
                1.5      2.25      1.25         16        640: 100%|██████████| 24/24 \
                [00:06<00:00,  3.57it/s]\n\
                                 Class     Images  Instances      Box(P          R      mAP50  \
                mAP50-95): 100%|██████████| 4/4 [00:01<00:00,  3.23it/s]\n\
                                   all        128        929       0.35        0.3       \
                0.28       0.14\n\
                \n      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size\n\
                \r       2/20      4.05G      nan      nan      nan         16        640: \
                100%|██████████| 24/24 [00:06<00:00,  3.57it/s]\n";
    let trace = of(text);
    let (steps, values) = series(&trace, &Role::LossPart("box_loss".into()));
    assert!(steps == [1, 2] && values[0] == 1.5 && values[1].is_nan());
    assert_eq!(
        (trace.unit, trace.cadence),
        (StepUnit::Epoch, Cadence::Epoch)
    );
}

#[test]
fn detectors_of_three_trainers() {
    let text = "[03/14 12:00:04 d2.utils.events]:  eta: 5:59:55  iter: 19  total_loss: 1.5  \
                loss_cls: 0.8301  time: 0.2312  lr: 0.0002  max_mem: 3782M\n\
                [03/14 12:00:09 d2.utils.events]:  eta: 5:59:50  iter: 39  total_loss: \
                1.184e+04  loss_cls: 1624  time: 0.2332  lr: 0.0004  max_mem: 3782M\n";
    reads(text, &[(19, 1.5), (39, 11840.0)], STEP, Cadence::Steps(20));
    let text = "2019-07-30 10:01:31,436 - mmdet - INFO - Epoch [1][50/100]\tlr: 8.000e-03, eta: \
                78:10:18, time: 0.403, loss_cls: 0.8029, acc: 94.05, loss: 1.5\n\
                2019-07-30 10:01:31,436 - mmdet - INFO - Epoch [1][100/100]\tlr: 8.000e-03, \
                eta: 1 day, 8:10:18, time: 0.403, memory: 3791, loss_cls: 0.8029, acc: 94.05, \
                loss: 1.25\n\
                2019-07-30 10:01:31,436 - mmdet - INFO - Epoch(val) [1][40]\tbbox_mAP: 0.35, \
                loss: 9.5\n\
                2019-07-30 10:01:51,486 - mmdet - INFO - Epoch [2][50/100]\tlr: 9.333e-03, eta: \
                78:09:58, time: 0.403, memory: 3791, loss_cls: 0.7868, acc: 93.45, loss: 1.0\n";
    reads(
        text,
        &[(50, 1.5), (100, 1.25), (150, 1.0)],
        STEP,
        Cadence::Steps(50),
    );
    let text = "09/11 10:17:27 - mmengine - INFO - Epoch(train) [1][  50/1500]  lr: 1.9997e-04  \
                eta: 6:00:05  time: 2.8635  loss: 2.5  grad_norm: 5.5\n\
                09/11 10:19:52 - mmengine - INFO - Epoch(train) [1][ 100/1500]  lr: 1.9986e-04  \
                eta: 5:57:40  time: 2.9010  loss: 2.25  grad_norm: nan\n";
    reads(text, &[(50, 2.5), (100, 2.25)], STEP, Cadence::Steps(50));
    let text = "09/11 10:17:27 - mmengine - INFO - Iter(train) [ 50/1500]  lr: 1.9997e-04  eta: \
                6:00:05  loss: 2.5\n\
                09/11 10:19:52 - mmengine - INFO - Iter(train) [100/1500]  lr: 1.9986e-04  eta: \
                5:57:40  loss: 2.25\n";
    reads(text, &[(50, 2.5), (100, 2.25)], STEP, Cadence::Steps(50));
}

#[test]
fn darknet() {
    let text = "Region 82 Avg IOU: -nan, Class: -nan, Obj: -nan, No Obj: 0.005, .5R: -nan, \
                .75R: -nan,  count: 0\n\
                 7: 6.5, 8.25 avg loss, 0.001 rate, 1.93 seconds, 64 images\nLoaded: 0.000021 \
                seconds\n\
                Region 94 Avg IOU: 0.5, Class: 0.9, Obj: 0.3, No Obj: 0.2, .5R: 0.3, .75R: \
                0.0,  count: 3\n \
                8: 5.5, 8.0 avg loss, 0.001 rate, 1.93 seconds, 128 images\n";
    let trace = reads(text, &[(7, 6.5), (8, 5.5)], STEP, Cadence::Step);
    assert_eq!(series(&trace, &Role::LearningRate).1, [0.001, 0.001]);
}

#[test]
fn opennmt() {
    let text = "[2019-05-21 19:01:40,000 INFO] Step 50/50000; acc:  51.56; ppl: 13.50; xent: \
                2.5; lr: 0.00049; 13270/14473 tok/s;  16400 sec\n\
                [2019-05-21 19:05:05,050 INFO] Step 100/50000; acc:  51.68; ppl: 13.39; xent: \
                2.25; lr: 0.00050; 13320/14523 tok/s;  16605 sec\n";
    reads(text, &[(50, 2.5), (100, 2.25)], STEP, Cadence::Steps(50));
}

#[test]
fn nnu_net_one_and_two() {
    let text = "2023-08-09 14:55:25.000000: unpacking dataset...\n2023-08-09 14:55:25.642030: \
                Epoch 0\n2023-08-09 14:55:25.642085: Current learning rate: 0.01\n2023-08-09 \
                14:55:25.809852: train_loss -0.5\n2023-08-09 14:55:25.840985: val_loss \
                -0.25\n2023-08-09 14:55:25.841061: Pseudo dice [0.5, nan]\n2023-08-09 \
                14:55:25.852639: Epoch time: 88.31 s\n\
                2023-08-09 14:56:25.642030: Epoch 1\n2023-08-09 14:56:25.642085: Current \
                learning rate: 0.01\n2023-08-09 14:56:25.809852: train_loss -0.75\n2023-08-09 \
                14:56:25.840985: val_loss -0.5\n";
    let trace = reads(
        text,
        &[(0, -0.5), (1, -0.75)],
        StepUnit::Epoch,
        Cadence::Epoch,
    );
    assert_eq!(
        series(&trace, &Role::ValidationLoss),
        (vec![0, 1], vec![-0.25, -0.5])
    );
    let text = "epoch:  0\n2020-01-01 10:00:00.123456: train loss : 0.5\n2020-01-01 \
                10:00:01.123456: validation loss: 0.75\n\
                epoch:  1\n2020-01-01 10:05:00.123456: train loss : 0.25\n2020-01-01 \
                10:05:01.123456: validation loss: 0.5\n";
    reads(
        text,
        &[(0, 0.5), (1, 0.25)],
        StepUnit::Epoch,
        Cadence::Epoch,
    );
}

#[test]
fn mlx() {
    let text = "Starting training..., iters: 600\nIter 1: Val loss 2.204, Val took 17.177s\n\
                Iter 10: Train loss 1.75, Learning Rate 2.000e-04, It/sec 0.991, Tokens/sec \
                387.010, Trained Tokens 3880, Peak mem 8.104 GB\n\
                Iter 20: Train loss 1.5, Learning Rate 2.000e-04, It/sec 0.992, Tokens/sec \
                387.020, Trained Tokens 7760, Peak mem 8.104 GB\n\
                Iter 20: Val loss 1.9, Val took 17.177s\n";
    let trace = reads(text, &[(10, 1.75), (20, 1.5)], STEP, Cadence::Steps(10));
    assert_eq!(
        series(&trace, &Role::ValidationLoss),
        (vec![1, 20], vec![2.204, 1.9])
    );
}

#[test]
fn gans() {
    let text = "Starting Training Loop...\n[0/5][0/200]\tLoss_D: 1.5\tLoss_G: 2.5\tD(x): \
                0.6731\tD(G(z)): 0.3221 / 0.0805\n\
                [0/5][100/200]\tLoss_D: 1.25\tLoss_G: 3.5\tD(x): 0.6563\tD(G(z)): 0.1621 / 0.0405\n\
                [1/5][0/200]\tLoss_D: 1.0\tLoss_G: 4.5\tD(x): 0.7305\tD(G(z)): 0.0100 / 0.0025\n";
    let trace = of(text);
    let (steps, values) = series(&trace, &Role::LossPart("Loss_G".into()));
    assert_eq!((steps, values), (vec![0, 100, 200], vec![2.5, 3.5, 4.5]));
    assert_eq!((trace.objective, trace.unit), (Objective::Gan, STEP));
    let text = "  0%|      | 20/200 [08:32<1422:04:48, 25.60s/it]G: 1.5 | D: 1.25 | GP: 0.42\n  \
                0%|      | 40/200 [08:32<1422:04:48, 25.60s/it]G: 2.5 | D: 1.5 | GP: 0.42\n";
    let trace = of(text);
    assert_eq!(
        series(&trace, &Role::LossPart("G".into())),
        (vec![20, 40], vec![1.5, 2.5])
    );
}

#[test]
fn tf_agents() {
    let text = "step = 500: loss = 33.5\nstep = 1000: loss = 36.25\nstep = 1000: Average Return \
                = 63.5\nstep = 1500: loss = 51.5\n";
    let trace = of(text);
    assert_eq!(loss(&trace), [(500, 33.5), (1000, 36.25), (1500, 51.5)]);
    assert_eq!(series(&trace, &Role::Reward), (vec![1000], vec![63.5]));
    assert_eq!(trace.objective, Objective::Rl);
}

#[test]
fn examples_of_pytorch() {
    let text = "Train: 0 [   0/40 (  0%)]  Loss: 6.5 (6.95)  Time: 1.2s  LR: 1.0e-06\nTrain: 0 \
                [  20/40 ( 50%)]  Loss: 6.25 (6.90)  Time: 1.2s  LR: 1.0e-06\n\
                Test: [   0/10]  Time: 1.0 (1.0)  Loss:  5.5 (5.5)\nTrain: 1 [   0/40 (  0%)]  \
                Loss: 6.0 (6.0)  Time: 1.2s  LR: 1.0e-06\n";
    reads(
        text,
        &[(0, 6.5), (20, 6.25), (40, 6.0)],
        STEP,
        Cadence::Steps(20),
    );
    let text = "Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.5\nTrain Epoch: 1 [640/60000 \
                (1%)]\tLoss: 2.25\nTrain Epoch: 1 [1280/60000 (2%)]\tLoss: 2.0\n\nTest set: \
                Average loss: 0.0487, Accuracy: 9842/10000 (98%)\n";
    reads(
        text,
        &[(0, 2.5), (1, 2.25), (2, 2.0)],
        StepUnit::Row,
        Cadence::Unknown,
    );
    let text = "Epoch: [0]  [  0/100]  eta: 0:01:00  lr: 0.1  loss: 6.5 (6.9)  time: 1.2  data: \
                0.1  max mem: 100\n\
                Epoch: [0]  [ 10/100]  eta: 0:01:00  lr: 0.1  loss: 6.25 (6.8)  time: 1.2  \
                data: 0.1  max mem: 100\n\
                Test:  [ 0/10]  eta: 0:00:10  loss: 5.5 (5.5)\n";
    reads(text, &[(0, 6.5), (10, 6.25)], STEP, Cadence::Steps(10));
    let text = "Epoch [1/2], Step [100/200], Loss: 2.5\nEpoch [1/2], Step [200/200], Loss: \
                2.25\nEpoch [2/2], Step [100/200], Loss: 2.0\nEpoch [2/2], Step [200/200], \
                Loss: 1.75\n";
    let expected = [(100, 2.5), (200, 2.25), (300, 2.0), (400, 1.75)];
    reads(text, &expected, STEP, Cadence::Steps(100));
}

#[test]
fn jax() {
    let text = "I1207 12:20:43.123456 139 logging_writer.py:48] [100] accuracy=0.5, \
                loss=2.5\nI1207 12:20:53.123456 139 logging_writer.py:48] [200] accuracy=0.5, \
                loss=2.25\n";
    reads(text, &[(100, 2.5), (200, 2.25)], STEP, Cadence::Steps(100));
    let text = "I0101 00:00:01.5 1 train.py:9] train[10]: loss=2.5, lr=0.1\nI0101 00:00:02.5 1 \
                train.py:9] train[20]: loss=2.25, lr=0.1\n";
    reads(text, &[(10, 2.5), (20, 2.25)], STEP, Cadence::Steps(10));
}

#[test]
fn olmo_and_composer() {
    let text = "2024-01-01 10:00:00\thost:0\tolmo.train:9\tINFO\t[step=10/1000,epoch=1]\n    \
                optim/total_grad_norm=0.5\n    train/CE loss=2.5\n\
                2024-01-01 10:00:09\thost:0\tolmo.train:9\tINFO\t[step=20/1000,epoch=1]\n    \
                optim/total_grad_norm=0.25\n    train/CE loss=2.25\n";
    let trace = reads(text, &[(10, 2.5), (20, 2.25)], STEP, Cadence::Steps(10));
    assert_eq!(series(&trace, &Role::GradNorm).1, [0.5, 0.25]);
    let text = "[epoch=1][batch=10/100]:\n\t Train loss/train/total: 2.5\n\t Train lr: \
                0.1\n[epoch=1][batch=20/100]:\n\t Train loss/train/total: 2.25\n\t Train lr: 0.1\n";
    reads(text, &[(10, 2.5), (20, 2.25)], STEP, Cadence::Steps(10));
}

#[test]
fn speech_trainers() {
    let text = "[host] 2021-01-01 10:00:00,123 (trainer:635) INFO: 1epoch:train:1-50batch: \
                iter_time=0.001, forward_time=0.1, loss_att=60.5, loss=80.5, backward_time=0.1, \
                optim0_lr0=1e-06, train_time=1.5\n\
                [host] 2021-01-01 10:01:00,123 (trainer:635) INFO: 1epoch:train:51-100batch: \
                iter_time=0.001, forward_time=0.1, loss_att=60.25, loss=80.25, \
                backward_time=0.1, optim0_lr0=1e-06, train_time=1.5\n";
    let trace = of(text);
    assert_eq!(
        loss(&trace).iter().map(|row| row.1).collect::<Vec<_>>(),
        [80.5, 80.25]
    );
}

#[test]
fn plain_lines_and_tables() {
    let text = "epoch     train_loss  valid_loss  accuracy  time    \n0         0.75        \
                0.5         0.9       00:10     \n1         0.5         0.25        0.95      \
                00:10     \n";
    let trace = reads(
        text,
        &[(0, 0.75), (1, 0.5)],
        StepUnit::Epoch,
        Cadence::Epoch,
    );
    assert_eq!(series(&trace, &Role::ValidationLoss).1, [0.5, 0.25]);
    let text = "loss: tensor(1.5, device='cuda:0', grad_fn=<NllLossBackward0>)\nloss: \
                tensor(1.25, device='cuda:0', grad_fn=<NllLossBackward0>)\nloss: tensor(nan, \
                device='cuda:0', grad_fn=<NllLossBackward0>)\n";
    assert!(series(&of(text), &Role::Loss).1[2].is_nan());
    let text = "Epoch 1 Train Loss: 0.5 Val Loss: 0.75\nEpoch 2 Train Loss: 0.25 Val Loss: 0.5\n";
    let trace = reads(
        text,
        &[(1, 0.5), (2, 0.25)],
        StepUnit::Epoch,
        Cadence::Epoch,
    );
    assert_eq!(series(&trace, &Role::ValidationLoss).1, [0.75, 0.5]);
    let text =
        "INFO:reporter:TD LOSS: 4.5\nINFO:reporter:TD LOSS: 40.5\nINFO:reporter:TD LOSS: 400.5\n";
    reads(
        text,
        &[(0, 4.5), (1, 40.5), (2, 400.5)],
        StepUnit::Row,
        Cadence::Unknown,
    );
}

#[test]
fn what_is_no_log_is_refused_with_its_lines() {
    for text in [
        "Collecting torch==2.5.1\n  Downloading torch (906.4 MB)\nstep 1 of 2: disk: 512 \
                GB\nstep 2 of 2: network: loss 0.0% of 20 packets, rtt 12.1 ms\n",
        "The loss of 3 ships in 1912 was told.\nNobody knew why.\n",
        "def loss(x):\n    loss = 0\n    return loss\n",
        "a\n\nb\n",
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(
            error.contains("this looks like text without a number for the loss"),
            "{error}"
        );
    }
}

#[test]
fn no_bytes_make_it_panic() {
    use proptest::prelude::*;
    let words = prop::sample::select(vec![
        "loss",
        "nan",
        ":",
        "=",
        " ",
        "  ",
        "|",
        "1",
        "2.5",
        "/",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "'",
        "\"",
        ",",
        "\n",
        "\r",
        "\t",
        "epoch",
        "step",
        "%",
        "val",
        "-",
        "█",
        "\u{1b}[1m",
        "train/",
        "lr",
        "iter",
        "---",
        "1e9",
        "skipping step",
        "-inf",
        "12:30",
        "9999999999999999999999",
    ]);
    let lines = prop::collection::vec(words, 0..80).prop_map(|words| words.concat().into_bytes());
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    proptest!(|(text in prop_oneof![lines, bytes])| {
        let _ = super::read(Path::new("x"), &mut &text[..], &Columns::default());
    });
}
