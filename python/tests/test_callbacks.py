"""The guard inside Lightning's and Hugging Face's trainers."""

import contextlib
import copy
import io
import json
import math

import pytest
import torch
from steadygrad.torch import GuardStopped, find_non_finite

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
        self.model = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        )
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


@pytest.mark.parametrize(
    "settings", [{}, {"accumulate_grad_batches": 3}, {"gradient_clip_val": 0.1}]
)
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


def test_lightning_clips_by_value_and_skips(tmp_path):
    settings = {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": "value"}
    callback = LightningGuard()
    module = fit(tmp_path / "fault", [callback], fault=math.nan, **settings)
    assert callback.guard.counts["skipped"] == 1
    assert all(parameter.isfinite().all() for parameter in module.parameters())
    guarded = fit(tmp_path / "guarded", [LightningGuard()], **settings)
    assert same(weights(guarded), weights(fit(tmp_path / "plain", **settings)))


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
    fit(
        tmp_path / "second",
        [LightningGuard(run_dir=tmp_path / "record")],
        epochs=2,
        checkpoint=checkpoint,
    )
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


def by_step(optimizer, kind):
    schedules = torch.optim.lr_scheduler
    if kind == "exponential":
        return schedules.ExponentialLR(optimizer, 0.97)
    return schedules.LambdaLR(optimizer, lambda step: 1 / (1 + step))


class Scheduled(Module):
    """Grows the loss slowly, so that the guard lowers the rate; keeps each batch's first rate."""

    def __init__(self, kind, grows):
        super().__init__()
        self.kind, self.grows, self.rates = kind, grows, []

    def training_step(self, batch, index):
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        factor = 1.2 ** min(index - 30, 30) if self.grows and index > 30 else 1.0
        return factor * super().training_step(batch, index)

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        schedule = {"scheduler": by_step(optimizer, self.kind), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


@pytest.mark.parametrize("kind", ["exponential", "lambda"])
def test_lightning_schedules_by_step_are_what_they_are_without_the_guard(tmp_path, kind):
    callback = LightningGuard()
    guarded = fit(tmp_path / "guarded", [callback], module=Scheduled(kind, grows=True))
    assert callback.guard.counts["lowered"] > 0
    plain = fit(tmp_path / "plain", module=Scheduled(kind, grows=False))
    assert guarded.rates == plain.rates and len(plain.rates) == STEPS
    assert not guarded.trainer.optimizers[0]._optimizer_step_post_hooks


def test_lightning_takes_in_layers_that_are_unfrozen(tmp_path):
    class Finetuned(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.backbone, self.head = torch.nn.Linear(8, 16), torch.nn.Linear(16, 1)

        def training_step(self, batch, index):
            inputs, targets = batch
            return torch.nn.functional.mse_loss(self.head(self.backbone(inputs).tanh()), targets)

        def configure_optimizers(self):
            return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.01)

    def run(folder, callbacks):
        thaw = lightning.pytorch.callbacks.BackboneFinetuning(unfreeze_backbone_at_epoch=1)
        return fit(folder, [*callbacks, thaw], module=Finetuned(), epochs=2)

    callback = LightningGuard()
    assert same(
        weights(run(tmp_path / "guarded", [callback])), weights(run(tmp_path / "plain", []))
    )
    assert "backbone.weight" in callback.last_step.gradients


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        )

    def forward(self, inputs, labels):
        predicted = self.layers(inputs)
        return {"loss": torch.nn.functional.mse_loss(predicted, labels), "logits": predicted}


def trainer_of(folder, callbacks=(), fault=None, steps=STEPS, model=None, **settings):
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

    return InOrder(
        model=model or Net(), args=arguments, train_dataset=rows, callbacks=list(callbacks)
    )


def train(folder, callbacks=(), checkpoint=None, **settings):
    trainer = trainer_of(folder, callbacks, **settings)
    # It prints a row for each step.
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train(resume_from_checkpoint=checkpoint)
    return trainer


@pytest.mark.parametrize(
    "settings",
    [{}, {"gradient_accumulation_steps": 3, "steps": STEPS // 3}, {"max_grad_norm": 0.0}],
)
def test_the_trainer_is_left_alone(tmp_path, settings):
    callback = TrainerGuard()
    guarded = train(tmp_path / "guarded", [callback], **settings)
    plain = train(tmp_path / "plain", **settings)
    for a, b in zip(guarded.model.parameters(), plain.model.parameters(), strict=True):
        # PyTorch's factor is computed in float32, the guard's in float64.
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    counts = callback.guard.counts
    assert [counts[name] for name in ("skipped", "lowered", "rolled_back")] == [0, 0, 0]
    # The trainer's own clipping, which the guard does in its place.
    largest = plain.args.max_grad_norm or math.inf
    norms = [row["grad_norm"] for row in plain.state.log_history if "grad_norm" in row]
    assert counts["clipped"] == sum(norm > largest for norm in norms)
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


def test_the_trainer_is_left_alone_bit_for_bit_where_nothing_is_clipped(tmp_path):
    guarded = train(tmp_path / "guarded", [TrainerGuard()], max_grad_norm=100.0)
    plain = train(tmp_path / "plain", max_grad_norm=100.0)
    assert same(weights(guarded.model), weights(plain.model))
    norms = [
        [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row]
        for trainer in (guarded, plain)
    ]
    assert norms[0] == norms[1] and len(norms[0]) == STEPS


class At(transformers.TrainerCallback):
    """Does something at the end of the third step."""

    def __init__(self, act):
        self.act = act

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step == 3:
            self.act(model)


def interrupt(model):
    raise KeyboardInterrupt


def test_the_trainer_is_as_configured_after_an_interruption(tmp_path):
    callback = TrainerGuard()
    trainer = trainer_of(tmp_path, [callback, At(interrupt)], steps=6, max_grad_norm=1e-3)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.pop_callback(At)
    trainer.train()
    assert trainer.args.max_grad_norm == 1e-3
    assert callback.last_step.grad_norm_clipped == pytest.approx(1e-3)
    assert not trainer.model._forward_hooks


def test_another_callback_finds_the_configured_norm_after_an_interruption(tmp_path):
    trainer = trainer_of(tmp_path, [TrainerGuard(), At(interrupt)], steps=6, max_grad_norm=1e-3)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.pop_callback(At)
    trainer.pop_callback(TrainerGuard)
    callback = TrainerGuard()
    trainer.add_callback(callback)
    trainer.train()
    assert type(trainer.args.max_grad_norm) is float and trainer.args.max_grad_norm == 1e-3
    assert callback.last_step.grad_norm_clipped == pytest.approx(1e-3)


@pytest.mark.parametrize("same_model", [False, True])
def test_a_training_without_the_guard_is_clipped_after_an_interruption(tmp_path, same_model):
    settings = {"steps": 6, "max_grad_norm": 1e-3, "optim": "sgd"}
    trainer = trainer_of(tmp_path, [TrainerGuard(), At(interrupt)], **settings)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert json.loads(trainer.args.to_json_string())["max_grad_norm"] == 1e-3
    model = trainer.model if same_model else Net()
    before = weights(model)
    transformers.Trainer(
        model=model, args=trainer.args, train_dataset=trainer.train_dataset
    ).train()
    # The rate falls from its first value.
    most = 6 * trainer.args.learning_rate * 1e-3
    change = math.hypot(*((a - b).norm().item() for a, b in zip(weights(model), before)))
    assert 0.0 < change <= most
    assert not model._forward_hooks


def test_the_trainer_is_as_configured_when_the_guard_gives_up(tmp_path):
    model = Net()
    model.layers[0].weight.register_hook(lambda gradient: gradient * math.nan)
    trainer = trainer_of(tmp_path, [TrainerGuard()], model=model)
    with pytest.raises(GuardStopped):
        trainer.train()
    assert trainer.args.max_grad_norm == 1.0 and type(trainer.args.max_grad_norm) is float
    assert not model._forward_hooks


def test_checkpoints_hold_the_configured_norm(tmp_path):
    trainer = train(tmp_path, [TrainerGuard()], steps=2, save_strategy="steps", save_steps=2)
    saved = torch.load(tmp_path / "checkpoint-2" / "training_args.bin", weights_only=False)
    assert type(saved.max_grad_norm) is float and saved.max_grad_norm == trainer.args.max_grad_norm


def test_a_model_can_be_copied_and_pickled_while_it_trains(tmp_path):
    seen = []

    def copies(model):
        twin = copy.deepcopy(model)
        with io.BytesIO() as file:
            torch.save(model, file)
            file.seek(0)
            seen.extend([twin, torch.load(file, weights_only=False)])
        inputs, targets = data(16).tensors
        # A copy's forward pass is none of the training's.
        twin(inputs, targets * 1e6)["loss"].backward()
        found = find_non_finite(model, {"inputs": inputs, "labels": targets}, lambda o: o["loss"])
        assert found is None

    callback = TrainerGuard()
    guarded = train(tmp_path / "guarded", [callback, At(copies)], steps=5, max_grad_norm=100.0)
    assert len(seen) == 2 and callback.guard.counts["kept"] == 5
    plain = train(tmp_path / "plain", steps=5, max_grad_norm=100.0)
    assert same(weights(guarded.model), weights(plain.model))


class CountsItems(Net):
    """Divides by the whole update's number of items, as transformers' own language models do."""

    def forward(self, inputs, labels, num_items_in_batch=None, **_):
        output = super().forward(inputs, labels)
        if num_items_in_batch is not None:
            output["loss"] = output["loss"] * labels.numel() / num_items_in_batch
        return output


@pytest.mark.parametrize("model", [Net, CountsItems])
def test_the_loss_of_an_update_is_the_trainers(tmp_path, monkeypatch, model):
    from steadygrad.torch import Guard

    judged, before_step = [], Guard.before_step
    monkeypatch.setattr(
        Guard,
        "before_step",
        lambda self, loss, **more: judged.append(float(loss)) or before_step(self, loss, **more),
    )
    # 90 batches: the last update of an epoch has two of them, not four.
    settings = {"gradient_accumulation_steps": 4, "steps": -1, "num_train_epochs": 2}
    trainer = train(tmp_path, [TrainerGuard()], model=model(), **settings)
    logged = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert judged == pytest.approx(logged, rel=1e-5) and len(logged) == 2 * 23


@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_the_place_of_a_fault_survives_the_trainer(tmp_path, max_grad_norm, factor):
    model = Net()
    model.layers[2].weight.register_hook(lambda gradient: gradient * factor)
    callback = TrainerGuard()
    trainer = train(tmp_path, [callback], steps=1, model=model, max_grad_norm=max_grad_norm)
    step = callback.last_step
    assert not step.applied
    bad = [name for name, gradient in step.gradients.items() if gradient.non_finite]
    assert bad == ["layers.2.weight"]
    assert not math.isfinite(trainer.state.log_history[0]["grad_norm"])


def test_a_norm_beyond_float32_is_clipped_and_not_lost(tmp_path):
    model = Net()
    # Each number's square is finite, their sum is not.
    model.layers[2].weight.register_hook(lambda gradient: torch.full_like(gradient, 1e19))
    callback = TrainerGuard()
    train(tmp_path, [callback], steps=1, model=model)
    step = callback.last_step
    assert step.applied and step.grad_norm == pytest.approx(4e19)
    assert step.grad_norm_clipped == pytest.approx(1.0)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
