"""The guard inside Lightning's and Hugging Face's trainers."""

import json
import math

import pytest
import torch

from steadygrad.torch import GuardStopped

lightning = pytest.importorskip("lightning")
transformers = pytest.importorskip("transformers")

from steadygrad.lightning import GuardCallback as LightningGuard  # noqa: E402
from steadygrad.transformers import GuardCallback as TrainerGuard  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = 90
FAULT_AT = 60


def data(count=STEPS * 16, fault=None):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 8, generator=generator)
    targets = torch.tanh(inputs @ torch.randn(8, 1, generator=generator) / 3)
    if fault is not None:
        inputs[FAULT_AT * 16 + 3] = fault
    return torch.utils.data.TensorDataset(inputs, targets)


class Module(lightning.LightningModule):
    def __init__(self, lr=0.05):
        super().__init__()
        torch.manual_seed(1)
        self.model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
        self.lr = lr

    def training_step(self, batch, index):
        inputs, targets = batch
        return torch.nn.functional.mse_loss(self.model(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def fit(folder, callbacks=(), fault=None, module=None, epochs=1, checkpoint=None, **settings):
    from lightning.pytorch.loggers import CSVLogger

    module = module or Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=CSVLogger(folder, name="run"),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        default_root_dir=folder,
        **settings,
    )
    batches = torch.utils.data.DataLoader(data(fault=fault), batch_size=16)
    trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=False)
    return module


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 3}, {"gradient_clip_val": 0.1}])
def test_lightning_leaves_a_healthy_run_alone(tmp_path, settings):
    callback = LightningGuard()
    guarded = fit(tmp_path / "guarded", [callback], **settings)
    plain = fit(tmp_path / "plain", **settings)
    assert same(weights(guarded), weights(plain))
    updates = STEPS // settings.get("accumulate_grad_batches", 1)
    assert callback.guard.counts == {
        "kept": updates, "clipped": 0, "skipped": 0, "lowered": 0, "rolled_back": 0
    }  # fmt: skip


def test_lightning_skips_a_batch_of_nan_and_logs(steadygrad, tmp_path):
    callback = LightningGuard(run_dir=tmp_path / "record")
    module = fit(tmp_path, [callback], fault=math.nan)
    assert all(parameter.isfinite().all() for parameter in module.parameters())
    assert callback.guard.counts["skipped"] == 1
    # Control: without the guard the weights are lost.
    assert not all(p.isfinite().all() for p in fit(tmp_path / "plain", fault=math.nan).parameters())
    # Its own record and Lightning's metrics.csv both tell.
    for log in (tmp_path / "record", tmp_path / "run"):
        run = json.loads(steadygrad("diagnose", log, "--json").stdout)["runs"][0]
        assert run["rows"] == STEPS
        assert run["findings"][0]["step"] == FAULT_AT
        matched = {matched["role"]: matched["column"] for matched in run["matched"]}
        assert matched["grad_norm"] == "grad_norm"


def test_lightning_keeps_the_guard_in_its_checkpoints(tmp_path):
    callback = LightningGuard()
    module = Module()
    fit(tmp_path, [callback], module=module)
    checkpoint = next(tmp_path.rglob("*.ckpt"))
    saved = torch.load(checkpoint, weights_only=False)["callbacks"]
    assert saved["GuardCallback"]["step"] == STEPS
    again = LightningGuard()
    again.load_state_dict(saved["GuardCallback"])
    fit(tmp_path / "again", [again], module=module)
    assert again.guard._step == 2 * STEPS


def rows_of(record):
    """The run's rows as `diagnose` reads them: their steps and losses."""
    table = []
    for path in sorted(record.glob("steps*.arrow"), key=lambda path: len(path.name)):
        import pyarrow.ipc

        with pyarrow.ipc.open_stream(path) as rows:
            read = rows.read_all()
        table.append(list(zip(read.column("step").to_pylist(), read.column("loss").to_pylist())))
    return table


def test_lightning_goes_on_from_a_checkpoint_in_the_same_record(steadygrad, tmp_path):
    fit(tmp_path / "whole", [LightningGuard(run_dir=tmp_path / "record-whole")], epochs=2)
    fit(tmp_path / "first", [LightningGuard(run_dir=tmp_path / "record")])
    checkpoint = next((tmp_path / "first").rglob("*.ckpt"))
    fit(tmp_path / "second", [LightningGuard(run_dir=tmp_path / "record")], epochs=2, checkpoint=checkpoint)
    [whole], [first, second] = rows_of(tmp_path / "record-whole"), rows_of(tmp_path / "record")
    assert whole == first + second and len(first) == len(second) == STEPS
    run = json.loads(steadygrad("diagnose", tmp_path / "record", "--json").stdout)["runs"][0]
    assert run["rows"] == 2 * STEPS


def test_a_training_that_was_interrupted_does_not_hold_the_folders(tmp_path):
    class Interrupted(Module):
        def training_step(self, batch, index):
            if index == 30:
                raise RuntimeError("interrupted")
            return super().training_step(batch, index)

    settings = {"snapshot_dir": tmp_path / "snapshots"}
    callback = LightningGuard(**settings)
    with pytest.raises(RuntimeError, match="interrupted"):
        fit(tmp_path / "first", [callback], module=Interrupted())
    fit(tmp_path / "second", [callback])
    assert callback.guard.counts["kept"] == STEPS
    callback = TrainerGuard(**settings)
    for run in ("third", "fourth"):
        train(tmp_path / run, [callback])
    assert callback.guard._step == STEPS


def test_lightning_ends_when_the_guard_gives_up(tmp_path):
    class Broken(Module):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            return loss * math.nan if index >= 30 else loss

    module = Broken()
    with pytest.raises(GuardStopped):
        fit(tmp_path, [LightningGuard()], module=module)
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_lightning_says_what_it_cannot_guard(tmp_path):
    class Manual(Module):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

    with pytest.raises(NotImplementedError, match="steps its optimizers itself"):
        fit(tmp_path, [LightningGuard()], module=Manual())


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))

    def forward(self, inputs, labels):
        predicted = self.layers(inputs)
        return {"loss": torch.nn.functional.mse_loss(predicted, labels), "logits": predicted}


def train(folder, callbacks=(), fault=None, steps=STEPS, checkpoint=None, **settings):
    rows = [{"inputs": x, "labels": y} for x, y in data(fault=fault)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=16,
        learning_rate=1e-2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **{"save_strategy": "no", **settings},
    )
    # In the order of the rows, so that it is known which batch has the fault.
    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(rows)

    trainer = InOrder(model=Net(), args=arguments, train_dataset=rows, callbacks=list(callbacks))
    trainer.train(resume_from_checkpoint=checkpoint)
    return trainer


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 3, "steps": STEPS // 3}, {"max_grad_norm": 0.0}])
def test_the_trainer_is_left_alone(tmp_path, settings):
    callback = TrainerGuard()
    guarded = train(tmp_path / "guarded", [callback], **settings)
    plain = train(tmp_path / "plain", **settings)
    for a, b in zip(guarded.model.parameters(), plain.model.parameters(), strict=True):
        # PyTorch's factor is computed in float32, the guard's in float64.
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    counts = callback.guard.counts
    # The trainer's own clipping is not the guard's.
    interventions = [counts[name] for name in ("clipped", "skipped", "lowered", "rolled_back")]
    assert interventions == [0, 0, 0, 0]
    assert guarded.args.max_grad_norm == plain.args.max_grad_norm
    assert not guarded.model._forward_hooks


def test_the_trainer_skips_a_batch_of_nan_and_logs(tmp_path):
    callback = TrainerGuard()
    trainer = train(tmp_path, [callback], fault=math.nan)
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    assert callback.guard.counts["skipped"] == 1
    rows = [row for row in trainer.state.log_history if "grad_norm_clipped" in row]
    assert len(rows) == STEPS
    assert [row["steps_not_applied"] for row in rows] == [0] * FAULT_AT + [1] * (STEPS - FAULT_AT)
    assert rows[FAULT_AT]["grad_norm_clipped"] == 0.0
    plain = train(tmp_path / "plain", fault=math.nan)
    assert not all(parameter.isfinite().all() for parameter in plain.model.parameters())


def test_the_trainers_loss_is_what_the_guard_judges(tmp_path):
    callback = TrainerGuard(run_dir=tmp_path / "record")
    trainer = train(tmp_path / "run", [callback])
    logged = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert callback.last_step is not None
    import pyarrow.ipc

    with pyarrow.ipc.open_stream(tmp_path / "record" / "steps.arrow") as rows:
        losses = rows.read_all().column("loss").to_pylist()
    assert losses == pytest.approx(logged, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("restores", [False, True])
def test_the_trainer_goes_on_from_a_checkpoint_in_the_same_record(steadygrad, tmp_path, restores):
    record, runs = tmp_path / "record", tmp_path / "runs"
    saving = {"save_strategy": "steps", "save_steps": STEPS // 2, "lr_scheduler_type": "constant"}
    whole = train(runs, [TrainerGuard(run_dir=record)], fault=math.nan, **saving)
    checkpoint = str(runs / f"checkpoint-{STEPS // 2}")
    callback = TrainerGuard(run_dir=record)
    again = train(
        tmp_path / "again",
        [callback],
        fault=math.nan,
        checkpoint=checkpoint,
        restore_callback_states_from_checkpoint=restores,
        **saving,
    )
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    first, second = rows_of(record)
    # As text, where NaN is NaN.
    assert repr(first[STEPS // 2 :]) == repr(second) and len(first) == STEPS
    run = json.loads(steadygrad("diagnose", record, "--json").stdout)["runs"][0]
    assert (run["rows"], run["findings"][0]["step"]) == (STEPS, FAULT_AT)
