"""`steadygrad.torch.cure`: the remedies applied to models, and all trials."""

import json
import math
import pickle

import numpy
import pytest
import steadygrad.torch as sg
import torch
from steadygrad._cure.bench import Bench
from steadygrad._cure.measure import measure_task
from steadygrad._cure.models import ModelFactory
from steadygrad._cure.remedies.applied import RemedyRefused
from steadygrad._cure.settings import CureSettings, split_data
from steadygrad._cure.surgery import apply_remedy
from steadygrad._cure.task import Rows, accuracy, evaluate, most_frequent
from steadygrad._probe.chain import matrices_of
from steadygrad._probe.layers import chain_of
from torch import nn


def mlp(depth=12, width=16, gain=2.5, activation=nn.ReLU):
    layers = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, std=gain / width**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


class Block(nn.Module):
    """Computes `x + f(x)`; with `pair`, it also returns x."""

    def __init__(self, width, gain, pair=False):
        super().__init__()
        self.first, self.second, self.pair = nn.Linear(width, width), nn.Linear(width, width), pair
        for linear in (self.first, self.second):
            nn.init.normal_(linear.weight, std=gain / width**0.5)
            nn.init.zeros_(linear.bias)

    def forward(self, x):
        out = x + self.second(self.first(x).relu())
        return (out, x) if self.pair else out


class Summed(nn.Module):
    """Adds the blocks' outputs to their inputs in the code around them."""

    def __init__(self, depth=16, width=16, gain=2.0):
        super().__init__()
        branch = lambda: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.blocks, self.last = nn.ModuleList(branch() for _ in range(depth)), nn.Linear(width, 4)
        for parameter in self.blocks.parameters():
            nn.init.normal_(parameter, std=gain / width**0.5 if parameter.ndim > 1 else 0.0)

    def forward(self, x, scale=1.0):
        for block in self.blocks:
            x = x + scale * block(x)
        return self.last(x)


def residual(depth=16, width=16, gain=2.0):
    return nn.Sequential(*[Block(width, gain) for _ in range(depth)], nn.Linear(width, 4))


def blobs(rows=256, width=16, classes=4):
    """Returns classes that are easy to separate."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(classes, (rows,), generator=generator)
    centres = 2.0 * torch.randn(classes, width, generator=generator)
    return centres[targets] + 0.5 * torch.randn(rows, width, generator=generator), targets


def chain(model, *inputs):
    return chain_of(model, lambda: model(*inputs))


@pytest.fixture
def inputs():
    return torch.randn(8, 16, generator=torch.Generator().manual_seed(1))


class TestSurgery:
    def test_critical_init_gives_every_matrix_its_gain(self, inputs):
        model = mlp()
        done = apply_remedy(
            model, chain(model, inputs), {"kind": "critical_init", "gain": 1.5, "input_rms": 3.0}
        )
        matrices = [p for p in model.parameters() if p.ndim == 2]
        gains = [float(p.detach().norm() / p.shape[0] ** 0.5) for p in matrices]
        assert gains == pytest.approx([0.5] + [1.5] * 11 + [1.0], rel=1e-5)
        assert "`0.weight`" in done.changes

    def test_critical_init_of_a_recurrent_network_is_of_its_recurrent_matrix_alone(self):
        model = nn.RNN(3, 5, batch_first=True)
        before = model.weight_ih_l0.detach().clone()
        found = chain(model, torch.randn(2, 4, 3))
        apply_remedy(model, found, {"kind": "critical_init", "gain": 1.5, "input_rms": 3.0})
        assert float(model.weight_hh_l0.detach().norm() / 5**0.5) == pytest.approx(1.5, rel=1e-5)
        assert torch.equal(model.weight_ih_l0, before)

    def test_the_head_of_a_recurrent_network_is_no_repeated_matrix(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn, self.head = nn.RNN(3, 5, batch_first=True), nn.Linear(5, 2)

            def forward(self, x):
                return self.head(self.rnn(x)[0][:, -1])

        model = Net()
        found = chain(model, torch.randn(2, 4, 3))
        roles = {name: role for name, role, _ in matrices_of(model, found)}
        assert roles == {
            "rnn.weight_ih_l0": "input",
            "rnn.weight_hh_l0": "recurrent",
            "head.weight": "output",
        }
        done = apply_remedy(model, found, {"kind": "cap_spectral_norm", "max_spectral_norm": 1e-3})
        assert done.changes == "Here it was done to `rnn.weight_hh_l0`."

    def test_zero_matrices_are_left_alone(self, inputs):
        model = mlp()
        with torch.no_grad():
            model[2].weight.zero_()
        apply_remedy(
            model, chain(model, inputs), {"kind": "critical_init", "gain": 1.5, "input_rms": 1.0}
        )
        apply_remedy(
            model, chain(model, inputs), {"kind": "cap_spectral_norm", "max_spectral_norm": 0.1}
        )
        assert not model[2].weight.any()

    def test_the_cap_holds_from_step_to_step(self, inputs):
        model = mlp()
        done = apply_remedy(
            model, chain(model, inputs), {"kind": "cap_spectral_norm", "max_spectral_norm": 1.2}
        )
        largest = lambda: max(
            float(torch.linalg.matrix_norm(model[2 * i].weight.detach(), 2)) for i in range(1, 12)
        )
        first = float(torch.linalg.matrix_norm(model[0].weight.detach(), 2))
        # Power iteration approaches the norm from below.
        assert largest() <= 1.2 * 1.05 and first > 2.0
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(20):
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
            optimizer.step()
            done.after_step(optimizer)
        assert largest() <= 1.2 * 1.05

    def test_normalised_layers_have_unit_rms(self, inputs):
        model, seen = mlp(), {}
        done = apply_remedy(model, chain(model, inputs), {"kind": "rms_norm", "every": 3})
        for place in (0, 2, 6):
            model[place].register_forward_hook(lambda m, i, o, at=place: seen.update({at: o}))
        model(inputs)
        rms = {at: float(out.detach().pow(2).mean(-1).sqrt().mean()) for at, out in seen.items()}
        assert rms[0] == pytest.approx(1.0, rel=1e-3) and rms[6] == pytest.approx(1.0, rel=1e-3)
        assert rms[2] != pytest.approx(1.0, rel=1e-2)
        assert done.changes == "Here it was added to the outputs of `0`, `6`, `12`, `18`."
        # Its scales are trained as well.
        assert "0.steadygrad_norm.weight" in dict(model.named_parameters())

    def test_images_and_sequences_are_normalised_where_their_features_are(self):
        convolutions = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)])
        images = torch.randn(2, 3, 5, 5)
        apply_remedy(convolutions, chain(convolutions, images), {"kind": "rms_norm", "every": 1})
        out = convolutions(images)
        assert out.pow(2).mean((1, 2, 3)).sqrt().tolist() == pytest.approx([1.0, 1.0], rel=1e-3)
        layers = nn.Sequential(*[nn.Linear(6, 6) for _ in range(3)])
        tokens = torch.randn(2, 7, 6)
        apply_remedy(layers, chain(layers, tokens), {"kind": "rms_norm", "every": 1})
        assert layers(tokens).pow(2).mean(-1).sqrt().flatten().tolist() == pytest.approx(
            [1.0] * 14, rel=1e-3
        )

    @pytest.mark.parametrize("pair", [False, True])
    def test_a_residual_blocks_branch_is_scaled(self, inputs, pair):
        block = Block(16, 1.0, pair)
        expected = inputs + 0.25 * block.second(block.first(inputs).relu())
        model = nn.ModuleList([block, Block(16, 1.0), Block(16, 1.0)])

        def run():
            value = inputs
            for each in model:
                value = each(value)
                value = value[0] if isinstance(value, tuple) else value
            return value

        found = chain_of(model, run)
        done = apply_remedy(model, found, {"kind": "scale_residual", "scale": 0.25})
        given = block(inputs)
        torch.testing.assert_close(given[0] if pair else given, expected)
        assert not pair or given[1] is inputs
        kept = pickle.loads(pickle.dumps(block))(inputs)
        torch.testing.assert_close(kept[0] if pair else kept, expected)
        assert done.changes == "Here it was done to `0`, `1`, `2`."

    def test_a_block_that_adds_in_place_keeps_nothing_to_scale(self, inputs):
        class InPlace(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(16, 16)

            def forward(self, x):
                x += self.linear(x)
                return x

        model = nn.Sequential(*[InPlace() for _ in range(3)])
        apply_remedy(model, chain(model, inputs.clone()), {"kind": "scale_residual", "scale": 0.25})
        with pytest.raises(TypeError, match="in place"):
            model(inputs)

    def test_branches_that_the_model_adds_are_scaled_and_left_out_where_they_are_given(
        self, inputs
    ):
        model = Summed(4, gain=0.5)
        found = chain(model, inputs)
        assert found.added and found.names == [f"blocks.{place}" for place in range(4)]
        expected = model(inputs, scale=0.25)
        done = apply_remedy(model, found, {"kind": "scale_residual", "scale": 0.25})
        torch.testing.assert_close(model(inputs), expected)
        assert done.changes.splitlines() == [
            "Here it was done to `blocks.0`, `blocks.1`, `blocks.2`, `blocks.3`.",
            "The model itself adds their outputs to their inputs: "
            "`scale_residual(blocks, added=True)`.",
        ]
        shorter, same = Summed(4, gain=0.5), Summed(2, gain=0.5)
        same.load_state_dict({name: shorter.state_dict()[name] for name in same.state_dict()})
        apply_remedy(shorter, found, {"kind": "reduce_depth", "depth": 2})
        torch.testing.assert_close(shorter(inputs), same(inputs))

    def test_blocks_that_change_the_shape_have_no_identity_to_keep(self):
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 8))
        found = chain(model, torch.randn(2, 4))
        with pytest.raises(RemedyRefused, match="keeps the shape of its input"):
            apply_remedy(model, found, {"kind": "scale_residual", "scale": 0.5})

    def test_fewer_layers_are_those_alone(self, inputs):
        model = mlp(activation=nn.Tanh)
        expected = nn.Sequential(*model[:10], model[-1])(inputs)
        apply_remedy(model, chain(model, inputs), {"kind": "reduce_depth", "depth": 5})
        assert torch.equal(model(inputs), expected)

    def test_layers_of_other_shapes_cannot_be_left_out(self):
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 8))
        found = chain(model, torch.randn(2, 4))
        with pytest.raises(RemedyRefused, match="`2` cannot be left out"):
            apply_remedy(model, found, {"kind": "reduce_depth", "depth": 1})

    @pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
    @pytest.mark.parametrize("time_steps", [1, 3, 4, 50])
    def test_a_truncated_network_gives_the_same_and_looks_back_so_far(self, kind, time_steps):
        module = kind(3, 5, num_layers=2, batch_first=True)
        sequence = torch.randn(2, 10, 3, requires_grad=True)
        whole, state = module(sequence)
        apply_remedy(
            module, chain(module, sequence), {"kind": "truncate_bptt", "time_steps": time_steps}
        )
        outputs, last = module(sequence)
        torch.testing.assert_close(outputs, whole)
        for one, other in zip(
            last if kind is nn.LSTM else [last], state if kind is nn.LSTM else [state]
        ):
            torch.testing.assert_close(one, other)
        outputs[:, -1].sum().backward()
        reached = sequence.grad.abs().sum((0, 2)) > 0
        assert reached.tolist() == [step >= 10 - time_steps for step in range(10)]

    def test_what_does_not_fit_is_refused(self, inputs):
        model = mlp()
        with pytest.raises(RemedyRefused, match="recurrent"):
            apply_remedy(model, chain(model, inputs), {"kind": "truncate_bptt", "time_steps": 2})
        lstm = nn.LSTM(3, 5)
        found = chain(lstm, torch.randn(4, 2, 3))
        with pytest.raises(RemedyRefused, match="between its time steps"):
            apply_remedy(lstm, found, {"kind": "rms_norm", "every": 1})


class TestTask:
    def test_rows_of_every_kind(self):
        x, y = blobs(10)
        pair = Rows((x, y))
        mapping = Rows({"x": x, "labels": y})
        dataset = Rows(torch.utils.data.TensorDataset(x, y))
        places = torch.tensor([3, 1])
        assert torch.equal(pair.take(places)[0], x[places])
        assert torch.equal(mapping.take(places)["labels"], y[places])
        assert torch.equal(dataset.take(places)[0], x[places])
        training, held = pair.split(0.3, torch.Generator().manual_seed(0))
        both = torch.cat([training.take(torch.arange(7))[0], held.take(torch.arange(3))[0]])
        assert torch.equal(both.sort(0).values, x.sort(0).values)

    def test_batches_see_every_row_once_a_pass(self):
        rows = Rows((torch.arange(12), torch.arange(12)))
        batches = rows.batches(4, seed=3)
        first = torch.cat([next(batches)[0] for _ in range(3)])
        second = torch.cat([next(batches)[0] for _ in range(3)])
        assert first.sort().values.tolist() == list(range(12)) == second.sort().values.tolist()
        assert not torch.equal(first, second)
        again = rows.batches(4, seed=3)
        assert torch.equal(next(again)[0], first[:4])

    @pytest.mark.parametrize(
        "data", [3, "text", (torch.ones(2), torch.ones(3)), (torch.ones(0), torch.ones(0))]
    )
    def test_what_is_no_data_is_refused(self, data):
        with pytest.raises(TypeError, match="`data` is a"):
            Rows(data)

    def test_accuracy_by_every_convention(self):
        targets = torch.tensor([[0, 1, 1], [2, 0, 1]])
        logits = nn.functional.one_hot(targets, 4).float()
        logits[0, 0] = torch.tensor([0.0, 9.0, 0.0, 0.0])
        assert accuracy(logits, targets) == pytest.approx(5 / 6)
        assert accuracy(logits.transpose(1, 2), targets) == pytest.approx(5 / 6)
        with pytest.raises(TypeError, match="give a `metric`"):
            accuracy(logits, targets[:1])

    def test_the_trivial_predictor(self):
        y = torch.tensor([0, 1, 1, 2, 1])
        assert most_frequent(Rows((torch.ones(5, 2), y)), 2) == pytest.approx(0.6)
        assert most_frequent(Rows({"x": torch.ones(5, 2), "labels": y}), 2) == pytest.approx(0.6)
        dataset = [{"x": torch.ones(2), "labels": label} for label in y]
        data = type(
            "Data",
            (torch.utils.data.Dataset,),
            {"__len__": lambda _: 5, "__getitem__": lambda _, at: dataset[at]},
        )()
        assert most_frequent(Rows(data), 2) == pytest.approx(0.6)

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            ((torch.ones(5, 2), torch.ones(5)), "numbers of torch.float32, not classes"),
            ({"x": torch.ones(5, 2)}, "without targets"),
            ({"x": torch.ones(5, 2), "y": torch.ones(5)}, "no tensor `labels`"),
            (
                {"x": torch.ones(5, 2), "labels": torch.ones(5, 7).long()},
                "not one class for each sample",
            ),
        ],
    )
    def test_targets_that_are_no_classes(self, data, why):
        with pytest.raises(ValueError, match=f"{why}.*give a `metric` and its `goal`"):
            most_frequent(Rows(data), 2)

    def test_logits_may_be_a_part_of_what_a_model_gives(self):
        outputs = type("Outputs", (), {"logits": torch.eye(3)})
        assert accuracy(outputs, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)

        outputs = {"logits": torch.eye(3), "loss": torch.tensor(1.0)}
        assert accuracy(outputs, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)

    def test_targets_below_0_do_not_count(self):
        targets = torch.tensor([0, -100, 1, -100, -100])
        assert accuracy(torch.eye(5), targets) == pytest.approx(1 / 2)
        assert most_frequent(Rows((torch.ones(5, 2), targets)), 2) == pytest.approx(1 / 2)
        with pytest.raises(ValueError, match="no target is a class"):
            most_frequent(Rows((torch.ones(5, 2), torch.full((5,), -100))), 2)

    def test_what_has_no_accuracy_asks_for_a_metric(self):
        for outputs in (torch.ones(3, 1), (torch.eye(3), None), {"prediction": torch.eye(3)}):
            with pytest.raises(TypeError, match="give a `metric`"):
                accuracy(outputs, torch.tensor([0, 1, 1]))

    def test_samples_that_are_several_arguments(self):
        class Pairs(torch.utils.data.Dataset):
            def __len__(self):
                return 5

            def __getitem__(self, at):
                return (torch.ones(2), torch.zeros(3)), at

        inputs, targets = Rows(Pairs()).take(torch.arange(4))
        assert isinstance(inputs, tuple) and [each.shape for each in inputs] == [(4, 2), (4, 3)]
        assert targets.tolist() == [0, 1, 2, 3]
        with pytest.raises(TypeError, match="give its `dataset`"):
            Rows(torch.utils.data.DataLoader(Pairs()))

    def test_a_model_that_differentiates_by_its_inputs_is_evaluated(self):
        class Slope(nn.Module):
            def forward(self, inputs):
                inputs = inputs.clone().requires_grad_()
                return torch.autograd.grad(inputs.square().sum(), inputs)[0]

        rows = Rows((torch.arange(4.0), torch.zeros(4)))
        assert evaluate(Slope(), rows, 2, lambda outputs, _: outputs.mean()) == pytest.approx(3.0)

    def test_a_mean_over_rows_not_over_batches(self):
        rows = Rows((torch.arange(5.0), torch.zeros(5)))
        assert evaluate(nn.Identity(), rows, 2, lambda outputs, _: outputs.mean()) == pytest.approx(
            2.0
        )


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05)


def without_times(cured):
    numbers = cured.to_dict()

    def strip(value):
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k != "seconds"}
        return [strip(v) for v in value] if isinstance(value, list) else value

    return json.dumps(strip(numbers))


@pytest.fixture(scope="module")
def cured(tmp_path_factory):
    out = tmp_path_factory.mktemp("cure") / "results"
    state = torch.get_rng_state()
    found = sg.cure(
        mlp, nn.functional.cross_entropy, blobs(), optimizer=sgd, steps=60, out=out, verbose=False
    )
    assert torch.equal(torch.get_rng_state(), state)
    return found, out


class TestCure:
    def test_an_exploding_network_is_cured_and_the_cure_is_proven(self, cured):
        found, _ = cured
        trials = {trial["name"]: trial for trial in found.trials}
        assert trials["baseline"]["outcome"]["verdict"] == "diverged"
        assert found.findings[0]["code"] in ("SG003", "SG007")
        given = found.prescription
        assert given is not None
        winner = trials[given["trial"]]
        assert winner["outcome"]["verdict"] == "cured"
        assert (
            winner["outcome"]["validation_metric"] >= found.to_dict()["subject"]["goal"]["metric"]
        )
        assert found.ranking[0]["trial"] == given["trial"] or found.ranking[0]["trial"].startswith(
            "control"
        )
        verified = {each["trial"]: each for each in found.verification}
        assert next(iter(verified)) == given["trial"]
        assert set(verified) == {given["trial"], "baseline", "control: clip=1", "control: random"}
        assert [run["seed"] for run in verified["baseline"]["seeds"]] == [1, 2, 3]
        assert 2 * verified[given["trial"]]["solved"] > 3
        assert verified["baseline"]["solved"] == 0
        assert given["burn"] == "" and "PyTorch" in str(found)

    def test_the_code_that_is_prescribed_runs(self, cured):
        exec(compile(cured[0].prescription["pytorch"], "prescribed", "exec"), {"model": mlp()})

    def test_every_family_is_tried_or_says_why_not(self, cured):
        families = [trial for trial in cured[0].trials if isinstance(trial["kind"], dict)]
        names = ["clip", "regularize", "initialize", "normalize", "simplify", "slow_down"]
        assert list(dict.fromkeys(trial["kind"]["family"] for trial in families)) == names
        for trial in families:
            assert (trial["outcome"] is None) == (trial["not_tried"] is not None)

    def test_results_are_files_that_the_command_reads(self, cured, steadygrad):
        found, out = cured
        assert json.loads((out / "report.json").read_text()) == found.to_dict()
        assert "<html" in (out / "report.html").read_text()
        assert steadygrad("diagnose", out / "baseline").returncode == 1
        assert len(list((out / "verify").iterdir())) == 12

    def test_the_same_seed_gives_the_same(self, cured):
        again = sg.cure(
            mlp, nn.functional.cross_entropy, blobs(), optimizer=sgd, steps=60, verbose=False
        )
        assert without_times(again) == without_times(cured[0])

    def test_a_residual_network_is_cured_by_scaling_its_branches(self):
        data = blobs()
        found = sg.cure(
            residual, nn.functional.cross_entropy, data, optimizer=sgd, steps=40, verbose=False
        )
        trials = {trial["name"]: trial for trial in found.trials}
        assert trials["baseline"]["outcome"]["verdict"] == "diverged"
        remedy = trials["initialize"]["remedy"]
        assert remedy["kind"] == "scale_residual" and 0 < remedy["scale"] < 1
        assert trials["initialize"]["outcome"]["verdict"] == "cured"
        assert trials["regularize"]["not_tried"].startswith("its layers are not plain")

    def test_so_is_one_whose_blocks_the_model_adds(self):
        found = sg.cure(
            Summed,
            nn.functional.cross_entropy,
            blobs(),
            optimizer=sgd,
            steps=40,
            fresh_seeds=1,
            verbose=False,
        )
        trials = {trial["name"]: trial for trial in found.trials}
        assert "SG007" not in [finding["code"] for finding in found.findings]
        assert trials["initialize"]["remedy"]["kind"] == "scale_residual"
        assert trials["initialize"]["outcome"]["verdict"] == "cured"
        assert trials["regularize"]["not_tried"].startswith("its layers are not plain")

    @pytest.mark.parametrize("depth", [8, 16, 48])
    def test_scaled_branches_grow_alike_at_any_depth(self, depth):
        data = blobs()
        build = lambda: residual(depth, 64)
        sums = lambda outputs, targets: -float(outputs.detach().abs().sum())

        def growth(model):
            points = sg.probe(
                model, (data[0].repeat(1, 4), data[1]), nn.functional.cross_entropy
            ).growth
            activations = points[-1]["activation_rms"] / points[0]["activation_rms"]
            return max(activations, points[0]["gradient_norm"] / points[-1]["gradient_norm"])

        found = sg.cure(
            build,
            nn.functional.cross_entropy,
            (data[0].repeat(1, 4), data[1]),
            optimizer=sgd,
            steps=1,
            fresh_seeds=1,
            metric=sums,
            goal=0.0,
            verbose=False,
        )
        remedy = next(trial["remedy"] for trial in found.trials if trial["name"] == "initialize")
        torch.manual_seed(0)
        model = build()
        assert growth(model) > 2.0**depth
        apply_remedy(model, chain(model, data[0].repeat(1, 4)), remedy)
        assert 1.3 < growth(model) < 2.0

    def test_a_blind_control_is_drawn_and_run_whatever_the_model_is(self):
        # At this seed, the control's family is not tried itself.
        found = sg.cure(
            residual,
            nn.functional.cross_entropy,
            blobs(64),
            optimizer=sgd,
            steps=5,
            seed=3,
            fresh_seeds=1,
            verbose=False,
        )
        control = next(trial for trial in found.trials if trial["name"] == "control: random")
        assert control["remedy"]["kind"] in ("critical_init", "cap_spectral_norm")
        assert control["outcome"] is not None and control["not_tried"] is None

    def test_other_optimizers_are_not_bounded_by_the_sharpness(self):
        adam = lambda parameters: torch.optim.Adam(parameters, lr=1e-3)
        found = sg.cure(
            lambda: mlp(4, gain=1.4),
            nn.functional.cross_entropy,
            blobs(64),
            optimizer=adam,
            steps=10,
            fresh_seeds=1,
            scheduler=lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, 3),
            verbose=False,
        )
        why = {trial["name"]: trial["not_tried"] for trial in found.trials}
        assert why["slow_down"] == "the sharpness bounds the learning rate of sgd, not of adam"

    def test_a_recurrent_network_with_a_metric_of_its_own(self):
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm, self.head = nn.LSTM(2, 8, batch_first=True), nn.Linear(8, 1)

            def forward(self, x):
                return self.head(self.lstm(x)[0][:, -1]).squeeze(-1)

        x = torch.randn(64, 12, 2, generator=torch.Generator().manual_seed(0))
        found = sg.cure(
            Last,
            nn.functional.mse_loss,
            (x, x.sum((1, 2))),
            optimizer=sgd,
            steps=15,
            fresh_seeds=1,
            goal=-0.1,
            metric=lambda outputs, targets: -nn.functional.mse_loss(outputs, targets),
            verbose=False,
        )
        why = {trial["name"]: trial["not_tried"] for trial in found.trials}
        assert "between its time steps" in why["normalize"]
        assert "not plain ones" in why["initialize"] and "not plain ones" in why["regularize"]
        assert found.to_dict()["setup"]["sequence_length"] == 12

    def test_a_mapping_with_labels(self):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = mlp(4, gain=1.4)

            def forward(self, x, labels):
                return self.layers(x)

        x, y = blobs(64)
        # For a mapping, the loss gets only the outputs.
        found = sg.cure(
            Model,
            lambda outputs: outputs.square().mean(),
            {"x": x, "labels": y},
            optimizer=sgd,
            steps=5,
            fresh_seeds=1,
            goal=0.9,
            metric=accuracy,
            verbose=False,
        )
        assert found.trials[0]["outcome"]["steps_done"] == 5

    def test_a_model_whose_shapes_come_with_its_first_batch(self):
        build = lambda: nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(4))
        found = sg.cure(
            build,
            nn.functional.cross_entropy,
            blobs(64),
            optimizer=sgd,
            steps=3,
            fresh_seeds=1,
            verbose=False,
        )
        assert found.trials[0]["outcome"]["steps_done"] == 3

    def test_numpy_is_seeded_and_stays_where_it_is(self):
        def build():
            model = mlp(3)
            with torch.no_grad():
                model[0].weight.mul_(float(numpy.random.rand()))
            return model

        state = numpy.random.get_state()[1].tolist()
        settings = {"optimizer": sgd, "steps": 4, "fresh_seeds": 1, "verbose": False}
        one, other = (
            sg.cure(build, nn.functional.cross_entropy, blobs(64), **settings) for _ in range(2)
        )
        assert without_times(one) == without_times(other)
        assert numpy.random.get_state()[1].tolist() == state

    def test_what_is_cured_untreated_gets_no_prescription(self):
        found = sg.cure(
            lambda: mlp(3, gain=1.4),
            nn.functional.cross_entropy,
            blobs(),
            optimizer=sgd,
            steps=80,
            fresh_seeds=1,
            verbose=False,
        )
        assert found.trials[0]["outcome"]["verdict"] == "cured" and found.prescription is None
        assert "there is nothing to cure" in str(found) and "there is nothing to prescribe" in str(
            found
        )

    @pytest.mark.parametrize("sets", [True, False])
    def test_a_rate_is_lower_whatever_the_schedule_does(self, sets):
        rates = []

        class Kept(torch.optim.SGD):
            def step(self, *args):
                rates.append(self.param_groups[0]["lr"])
                return super().step(*args)

        schedule = torch.optim.lr_scheduler
        settings = CureSettings(
            build=lambda: mlp(3),
            loss_fn=nn.functional.cross_entropy,
            optimizer=lambda ps: Kept(ps, lr=0.4),
            scheduler=(lambda o: schedule.OneCycleLR(o, 0.4, total_steps=40))
            if sets
            else (lambda o: schedule.ExponentialLR(o, 0.5)),
            steps=6,
            batch_size=16,
            seed=0,
            out=None,
            verbose=False,
        )
        data = split_data(settings, blobs(64), None)
        factory = ModelFactory(settings, data)
        measured = measure_task(settings, data, factory, None, None)
        bench = Bench(settings, data, factory, measured)
        remedy = {"kind": "lower_learning_rate", "learning_rate": measured.learning_rate / 10}
        as_it_is, lower = [], []
        for into, given in ((as_it_is, None), (lower, remedy)):
            rates.clear()
            bench.run("trial", given, 0, "trial")
            into += rates
        assert len(lower) == 6
        assert lower == pytest.approx([rate / 10 for rate in as_it_is])
        told = "multiply its own (`max_lr`, say) by 0.1,"
        assert (told in bench.changes["trial"]) == sets
        # The runs that find the margin use higher rates.
        bench.run("trial", remedy, 0, "trial", margin=True)
        assert (told in bench.changes["trial"]) == sets

    def test_interrupted_it_says_what_it_knows(self):
        calls = 0

        def build():
            nonlocal calls
            calls += 1
            if calls == 6:
                raise KeyboardInterrupt
            return mlp(4)

        found = sg.cure(
            build, nn.functional.cross_entropy, blobs(64), optimizer=sgd, steps=5, verbose=False
        )
        numbers = found.to_dict()
        assert numbers["interrupted"] and found.prescription is None
        assert "interrupted" in str(found)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"steps": 0}, "`steps` is 0"),
            ({"batch_size": 1.5}, "`batch_size` is 1.5"),
            ({"fresh_seeds": -1}, "`fresh_seeds` is -1"),
            ({"metric": accuracy}, "`goal` is missing"),
            ({"data": (torch.randn(16, 16), torch.randn(16))}, "give a `metric`"),
            (
                {"data": (torch.randn(1, 16), torch.tensor([1]))},
                "`data` holds 1 sample, .*give at least 10, or `validation`",
            ),
            ({"data": (torch.randn(3, 16), torch.arange(3))}, "`data` holds 3 samples"),
            ({"seed": -1}, "`seed` is -1"),
            ({"goal": 95}, "`goal` is 95; give an accuracy of at most 1, and above"),
            ({"goal": 0.01}, "`goal` is 0.01; give an accuracy of at most 1, and above"),
            (
                {"data": (torch.randn(16, 16), torch.zeros(16).long())},
                "give an accuracy of at most 1, and above 1:",
            ),
            (
                {"metric": lambda *_: math.nan, "goal": 1.0},
                "`metric` of the untrained model is nan",
            ),
            ({"optimizer": lambda ps: torch.optim.SGD(ps, lr=0.0)}, "learning rate is 0.0"),
            ({"optimizer": torch.optim.LBFGS}, "LBFGS runs the model itself"),
            (
                {"scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau},
                "ReduceLROnPlateau needs a metric",
            ),
        ],
    )
    def test_bad_values_are_refused_by_name(self, change, message):
        given = {"data": blobs(16), "optimizer": sgd, "steps": 5, "verbose": False} | change
        data = given.pop("data")
        with pytest.raises(ValueError, match=message):
            sg.cure(mlp, nn.functional.cross_entropy, data, **given)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"build": mlp(2)}, "`build` is a Sequential; give a function"),
            ({"build": lambda: [mlp(2)]}, "`build` gave a list; give a function"),
            (
                {"optimizer": sgd(mlp(2).parameters())},
                "`optimizer` is a SGD; give a function from parameters",
            ),
            (
                {"optimizer": lambda parameters: [sgd(parameters)]},
                "`optimizer` gave a list; give a function",
            ),
            ({"optimizer": 0.1}, "`optimizer` is a float"),
        ],
    )
    def test_what_is_no_function_of_the_right_kind_is_refused_by_name(self, change, message):
        given = {"build": lambda: mlp(2), "optimizer": sgd} | change
        build, optimizer = given["build"], given["optimizer"]
        with pytest.raises(TypeError, match=message):
            sg.cure(
                build,
                nn.functional.cross_entropy,
                blobs(16),
                optimizer=optimizer,
                steps=2,
                verbose=False,
            )

    def test_a_seed_that_is_fixed_in_build_is_told(self, recwarn):
        def build():
            torch.manual_seed(0)
            return mlp(2)

        settings = {"optimizer": sgd, "steps": 2, "fresh_seeds": 1, "verbose": False}
        sg.cure(lambda: mlp(2), nn.functional.cross_entropy, blobs(32), **settings)
        assert not [each for each in recwarn if "same weights" in str(each.message)]
        with pytest.warns(
            UserWarning, match="same weights at seeds 0 and 1.*Leave `torch.manual_seed`"
        ):
            sg.cure(build, nn.functional.cross_entropy, blobs(32), **settings)

    def test_one_module_for_all_runs_is_refused(self):
        model = mlp(4)
        with pytest.raises(ValueError, match="the same module twice"):
            sg.cure(
                lambda: model,
                nn.functional.cross_entropy,
                blobs(64),
                optimizer=sgd,
                steps=3,
                verbose=False,
            )

    def test_a_folder_in_use_is_refused_before_any_work(self, tmp_path):
        (tmp_path / "file").write_text("kept")

        def build():
            raise AssertionError("built")

        with pytest.raises(FileExistsError, match="not empty"):
            sg.cure(
                build, nn.functional.cross_entropy, blobs(), optimizer=sgd, steps=5, out=tmp_path
            )
        assert (tmp_path / "file").read_text() == "kept"

    def test_a_line_for_each_run(self, capsys):
        sg.cure(
            lambda: mlp(4),
            nn.functional.cross_entropy,
            blobs(64),
            optimizer=sgd,
            steps=3,
            fresh_seeds=1,
        )
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "steadygrad: measure"
        assert [line.split(": ")[1] for line in lines if "(seed 1)" in line][
            1
        ] == "baseline (seed 1)"
