"""`steadygrad diagnose` reads what real tools write, without a flag.

PyTorch's TensorBoard writer, Lightning's CSVLogger and a Hugging Face Trainer each log a healthy
run and one that breaks. Nothing is downloaded: the models are made from their configurations.
"""

import json

import pytest
import torch

STEPS = 120
# From here on the breaking run's learning rate is a thousand times higher.
BREAKS_AT = 80


@pytest.fixture
def diagnose(steadygrad):
    def of(path):
        done = steadygrad("diagnose", path, "--json")
        assert done.returncode in (0, 1), done.stderr
        runs = json.loads(done.stdout)["runs"]
        assert len(runs) == 1
        # Exit code 1 means an error: a run that came out of its trouble fails no build.
        errors = [found for found in runs[0]["findings"] if found["level"] == "error"]
        assert done.returncode == (1 if errors else 0)
        return runs[0]

    return of


def columns(run):
    return {matched["role"]: matched["column"] for matched in run["matched"]}


def batches(seed=0):
    torch.manual_seed(seed)
    inputs = torch.randn(512, 16)
    weight = torch.randn(16, 1)
    targets = inputs @ weight / 4 + 0.05 * torch.randn(512, 1)
    while True:
        rows = torch.randint(0, 512, (64,))
        yield inputs[rows], targets[rows]


def network():
    torch.manual_seed(1)
    layers = [torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)]
    return torch.nn.Sequential(*layers)


def learning_rate(step, breaks):
    return 0.05 * (1000 if breaks and step >= BREAKS_AT else 1)


@pytest.mark.parametrize("breaks", [False, True])
def test_tensorboard(diagnose, tmp_path, breaks):
    from torch.utils.tensorboard import SummaryWriter

    model, data = network(), batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with SummaryWriter(tmp_path / "run") as writer:
        for step in range(STEPS):
            inputs, targets = next(data)
            optimizer.param_groups[0]["lr"] = learning_rate(step, breaks)
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
            optimizer.step()
            writer.add_scalar("train/loss", loss.item(), step)
            writer.add_scalar("train/grad_norm", norm.item(), step, new_style=True)
            writer.add_scalar("lr", optimizer.param_groups[0]["lr"], step)
            for name, parameter in model.named_parameters():
                writer.add_scalar(f"gradients/{name}", parameter.grad.norm().item(), step)
                # The writer raises an error for NaN.
                if step % 20 == 0 and parameter.isfinite().all():
                    writer.add_histogram(f"weights/{name}", parameter, step)
    run = diagnose(tmp_path)
    assert run["format"] == "TensorBoard event file"
    assert (run["rows"], run["parameters"]) == (STEPS, 4)
    expected = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "lr"}
    assert columns(run) == expected
    check(run, breaks)


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_lightning_csv_logger(diagnose, tmp_path, breaks):
    import lightning
    from lightning.pytorch.loggers import CSVLogger

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network()

        def training_step(self, batch, index):
            inputs, targets = batch
            loss = torch.nn.functional.mse_loss(self.model(inputs), targets)
            self.log("train_loss", loss)
            rate = learning_rate(self.global_step, breaks)
            self.optimizers().param_groups[0]["lr"] = rate
            self.log("lr", rate)
            return loss

        def on_before_optimizer_step(self, optimizer):
            self.log_dict(lightning.pytorch.utilities.grad_norm(self, norm_type=2))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.05)

    data = batches()
    columns_of = [torch.cat(parts) for parts in zip(*(next(data) for _ in range(STEPS)))]
    dataset = torch.utils.data.TensorDataset(*columns_of)
    loader = torch.utils.data.DataLoader(dataset, batch_size=64)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        logger=CSVLogger(tmp_path, name="run"),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Module(), train_dataloaders=loader)
    run = diagnose(tmp_path)
    assert (run["format"], run["rows"], run["parameters"]) == ("CSV", STEPS, 4)
    expected = {
        "loss": "train_loss",
        "grad_norm": "grad_2.0_norm_total",
        "learning_rate": "lr",
    }
    assert columns(run) == expected
    check(run, breaks)


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_hugging_face_trainer(diagnose, tmp_path, breaks):
    import transformers

    config = transformers.GPT2Config(
        vocab_size=64,
        n_positions=16,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    rows = torch.randint(0, 8, (512, 16))
    data = [{"input_ids": row, "labels": row} for row in rows]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "run"),
        max_steps=STEPS,
        per_device_train_batch_size=8,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_steps=STEPS,
        max_grad_norm=0 if breaks else 1.0,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )

    optimizer = torch.optim.SGD(model.parameters(), lr=3e-3, momentum=0.9)
    # The schedule itself jumps, since the trainer logs its rate and not the optimizer's.
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, breaks) / learning_rate(0, breaks)
    )
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=data,
        optimizers=(optimizer, scheduler),
    )
    trainer.train()
    run = diagnose(tmp_path)
    assert run["format"] == "Hugging Face trainer state"
    assert run["name"] == "run"
    assert run["rows"] >= STEPS
    expected = {"loss": "loss", "grad_norm": "grad_norm", "learning_rate": "learning_rate"}
    assert columns(run) == expected
    check(run, breaks)


def check(run, breaks):
    """Checks that a healthy run has no finding, and a broken one its cause first."""
    faults = [found for found in run["findings"] if found["level"] != "note"]
    if not breaks:
        assert faults == []
        assert run["state"] == "alive"
        return
    headline = run["findings"][0]
    assert headline["level"] == "error"
    assert headline["code"] == "SG014"
    # The trainer counts steps from 1.
    assert BREAKS_AT <= headline["step"] <= BREAKS_AT + 1
