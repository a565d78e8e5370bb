"""`clip_grad_norm_` and `clip_grad_value_` against their namesakes in torch.nn.utils."""

import copy
import math
import warnings

import pytest
import steadygrad.torch as ours
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from steadygrad import _native
from steadygrad._gradients import clip_grad, reader
from torch import nn

SHAPES = [(5, 3), (7,), (), (2, 3, 4), (0, 3)]
F16, F32, F64, BF16 = torch.float16, torch.float32, torch.float64, torch.bfloat16


def with_grads(grads):
    made = []
    for grad in grads:
        holder = torch.zeros(()) if grad is None else torch.zeros(grad.shape, dtype=grad.dtype)
        made.append(nn.Parameter(holder))
        made[-1].grad = grad
    return made


def pair(grads):
    """The same gradients twice, for torch and for us."""
    return with_grads(grads), with_grads(copy.deepcopy(grads))


def dense(grad):
    return None if grad is None else grad.to_dense() if grad.is_sparse else grad


def check_same(theirs, mine, rtol=1e-6, atol=0.0):
    for p, q in zip(theirs, mine, strict=True):
        if p.grad is None:
            assert q.grad is None
            continue
        assert q.grad.dtype == p.grad.dtype
        torch.testing.assert_close(
            dense(q.grad), dense(p.grad), rtol=rtol, atol=atol, equal_nan=True
        )


def check_norm(grads, max_norm=0.5, rtol=1e-6, **keywords):
    theirs, mine = pair(grads)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, **keywords)
    norm = ours.clip_grad_norm_(mine, max_norm, **keywords)
    assert (norm.dtype, norm.device, norm.shape) == (expected.dtype, expected.device, ())
    assert not norm.requires_grad
    torch.testing.assert_close(norm, expected, rtol=rtol, atol=0.0)
    check_same(theirs, mine, rtol)


def random_grads(seed, dtype=F32, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(s, generator=generator) * scale).to(dtype) for s in SHAPES]


@pytest.mark.parametrize("norm_type", [2, 2.0, math.inf, "inf"])
def test_a_thousand_steps_of_spikes_zeros_and_changing_scales(norm_type):
    generator = torch.Generator().manual_seed(1)
    for step in range(1000):
        scale = [1e-2, 1e3, 1e-8, 1.0][step // 250]
        if torch.rand((), generator=generator) < 0.02:
            scale *= 1e4
        if torch.rand((), generator=generator) < 0.03:
            scale = 0.0
        grads = [torch.randn(s, generator=generator) * scale for s in [(2, 3), (2,)]]
        check_norm(grads, norm_type=norm_type)


@pytest.mark.parametrize("norm_type", [0.5, 1.0, 3.0])
def test_other_orders_are_torchs(norm_type):
    check_norm(random_grads(2)[:4], norm_type=norm_type)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30, 1e38])
@pytest.mark.parametrize("norm_type", [2.0, math.inf])
def test_every_scale_of_float32_against_float64(scale, norm_type):
    grads = [torch.rand(40) * scale, torch.rand(3, 3) * scale]
    wide, mine = with_grads([g.double() for g in grads]), with_grads(grads)
    largest = scale * 0.01
    expected = torch.nn.utils.get_total_norm([p.grad for p in wide], norm_type)
    coefficient = min(1.0, largest / (expected.item() + 1e-6))
    norm = ours.clip_grad_norm_(mine, largest, norm_type)
    if expected <= torch.finfo(F32).max:
        torch.testing.assert_close(norm.double(), expected, rtol=1e-6, atol=1e-45)
    else:
        assert norm.isinf()
    for p, q in zip(wide, mine):
        torch.testing.assert_close(q.grad.double(), p.grad * coefficient, rtol=1e-6, atol=2e-45)


@pytest.mark.parametrize(("dtype", "rtol"), [(F64, 1e-12), (F16, 2e-3), (BF16, 2e-2)])
def test_other_types(dtype, rtol):
    check_norm(random_grads(3, dtype), rtol=rtol)
    check_norm(random_grads(3, dtype), max_norm=1e4, rtol=rtol)


def test_a_norm_beyond_float16_is_still_clipped():
    grad = torch.full((8,), 65504.0, dtype=F16)
    [p] = with_grads([grad])
    norm = ours.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert norm.dtype == F16 and norm.isinf()
    torch.testing.assert_close(p.grad, torch.full((8,), 8**-0.5, dtype=F16), rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("types", [(F32, F64), (F16, BF16), (F32, F16), (F64, F16, BF16, F32)])
def test_mixed_types(types):
    check_norm([torch.randn(6).to(dtype) for dtype in types], rtol=1e-2)


def test_what_parameters_may_be():
    grads = random_grads(4)
    for form in (list, tuple, iter, lambda ps: (p for p in ps), lambda ps: ps[0]):
        theirs, mine = pair(grads)
        expected = torch.nn.utils.clip_grad_norm_(form(theirs), 0.5)
        torch.testing.assert_close(ours.clip_grad_norm_(form(mine), 0.5), expected)
        check_same(theirs, mine)


def test_none_and_nothing():
    check_norm([None, torch.randn(3), None])
    check_norm([])
    check_norm([None])
    with pytest.warns(UserWarning, match="empty generator") as seen:
        ours.clip_grad_norm_((p for p in []), 1.0)
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.clip_grad_norm_([], 1.0)


def strided(grad):
    return torch.empty(*grad.shape, 2)[..., 0].copy_(grad)


LAYOUTS = {
    "transposed": lambda g: g.t().contiguous().t(),
    "with gaps": strided,
    "offset": lambda g: torch.cat([g.new_zeros(1, g.shape[1]), g])[1:],
    "sparse": lambda g: g.to_sparse(),
    "negative bit": lambda g: torch.complex(g, -g).conj().imag,
    "complex": lambda g: torch.complex(g, g),
    "followed by autograd": lambda g: g.clone().requires_grad_(),
    "copied on write": lambda g: torch._lazy_clone(g),
}


def clips_sparse_gradients():
    """Whether this PyTorch's own clipping does: 2.10's does not."""
    p = nn.Parameter(torch.zeros(2, 2))
    p.grad = torch.eye(2).to_sparse()
    try:
        torch.nn.utils.clip_grad_norm_([p], 1.0)
    except NotImplementedError:
        return False
    return True


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("norm_type", [2.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e9])
def test_layouts(layout, norm_type, max_norm):
    first, second = torch.randn(4, 5), torch.randn(3)
    results = []
    for clip in (torch.nn.utils.clip_grad_norm_, ours.clip_grad_norm_):
        odd = LAYOUTS[layout](first.clone())
        p = nn.Parameter(torch.zeros(4, 5, dtype=odd.dtype))
        p.grad = odd
        q = nn.Parameter(torch.zeros(3))
        q.grad = second.clone()
        if layout == "sparse" and norm_type != 2.0:
            pytest.skip("torch has no such norm of a sparse tensor")
        if layout == "sparse" and not clips_sparse_gradients():
            pytest.skip("this version of torch has nothing to compare with")
        # PyTorch's foreach kernels refuse a negative bit.
        foreach = False if layout == "negative bit" else None
        norm = clip([p, q], max_norm, norm_type, foreach=foreach)
        results.append((norm, dense(p.grad), q.grad))
    for theirs, mine in zip(*results):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=0.0)


def test_copy_on_write_leaves_the_other_copy_alone():
    original = torch.ones(4)
    [p] = with_grads([torch._lazy_clone(original)])
    ours.clip_grad_norm_([p], 0.1)
    assert torch.equal(original, torch.ones(4))
    assert p.grad[0] < 0.1


class Tagged(torch.Tensor):
    pass


def test_a_subclass_goes_through_torch():
    values = [torch.randn(4), torch.randn(3)]
    theirs, mine = (
        with_grads([values[0].clone().as_subclass(Tagged), values[1].clone()]) for _ in range(2)
    )
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    torch.testing.assert_close(ours.clip_grad_norm_(mine, 0.5), expected, rtol=1e-6, atol=0.0)
    check_same(theirs, mine)
    assert type(mine[0].grad) is Tagged


def overlapping(theirs_or_mine):
    base = torch.arange(1.0, 9.0)
    p, q, r = (nn.Parameter(torch.zeros(n)) for n in (4, 4, 8))
    p.grad = q.grad = base[:4]
    r.grad = base
    return [p, q, r]


def test_parameters_that_share_a_gradient():
    theirs, mine = overlapping(0), overlapping(1)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    torch.testing.assert_close(ours.clip_grad_norm_(mine, 0.5), expected, rtol=1e-6, atol=0.0)
    check_same(theirs, mine)
    theirs, mine = overlapping(0), overlapping(1)
    torch.nn.utils.clip_grad_norm_([theirs[0]] * 2, 0.5)
    ours.clip_grad_norm_([mine[0]] * 2, 0.5)
    check_same(theirs, mine)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("norm_type", [2.0, math.inf, 1.0])
@pytest.mark.parametrize("make", [lambda g: g, strided])
def test_a_non_finite_gradient_changes_nothing(bad, norm_type, make):
    grads = [torch.randn(300, 40), make(torch.randn(6, 7))]
    grads[1][2, 3] = bad
    before = [grad.clone() for grad in grads]
    theirs, mine = pair(grads)
    norm = ours.clip_grad_norm_(mine, 0.5, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5, norm_type)
    torch.testing.assert_close(norm, expected, equal_nan=True)
    for grad, p in zip(before, mine):
        assert torch.equal(grad.nan_to_num(), p.grad.nan_to_num())
    for clip in (ours.clip_grad_norm_, torch.nn.utils.clip_grad_norm_):
        with pytest.raises(RuntimeError, match="non-finite"):
            clip(mine, 0.5, norm_type, error_if_nonfinite=True)


def test_nothing_is_written_below_the_bound():
    grads = random_grads(5)
    mine = with_grads(grads)
    versions = [g._version for g in grads]
    ours.clip_grad_norm_(mine, 1e6)
    assert [g._version for g in grads] == versions


def test_autograd_is_told_of_the_change():
    [p] = with_grads([torch.randn(3)])
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * p.grad).sum()
    ours.clip_grad_norm_([p], 0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("foreach", [None, True, False])
def test_foreach(foreach):
    check_norm(random_grads(6), foreach=foreach)
    check_norm([strided(torch.randn(4, 3)), torch.randn(2)], foreach=foreach)


@pytest.mark.parametrize(
    "clip", [ours.clip_grad_norm_, ours.clip_grad_value_, torch.nn.utils.clip_grad_norm_]
)
def test_foreach_where_torch_has_none(clip):
    p = nn.Parameter(torch.zeros(3, device="meta"))
    p.grad = torch.zeros(3, device="meta")
    with pytest.raises(RuntimeError, match="can't use the foreach API on meta tensors"):
        clip([p], 1.0, foreach=True)


@pytest.mark.parametrize("max_norm", [-1.0, math.nan])
def test_a_bound_that_is_none(max_norm):
    with pytest.raises(ValueError, match="max_norm must be 0 or more"):
        ours.clip_grad_norm_(with_grads([torch.ones(2)]), max_norm)


def test_bounds_at_the_ends():
    check_norm(random_grads(7), max_norm=0.0)
    check_norm(random_grads(7), max_norm=math.inf)


def test_any_number_of_threads():
    # Each thread is given four million values at least.
    grads = [torch.randn(3000, 4200), torch.randn(3), torch.randn(500, 800)]
    exact = math.sqrt(sum(grad.double().square().sum().item() for grad in grads))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            parameters = with_grads([grad.clone() for grad in grads])
            norm = ours.clip_grad_norm_(parameters, 0.5)
            assert norm.item() == pytest.approx(exact, rel=1e-6)
            found.append([norm, *(parameter.grad for parameter in parameters)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    for grad, clipped in zip(grads, found[0][1:], strict=True):
        torch.testing.assert_close(
            clipped.double(), grad.double() * (0.5 / exact), rtol=1e-5, atol=0.0
        )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.floats(-1e6, 1e6, width=32), max_size=40), min_size=1, max_size=4),
    st.floats(1e-3, 1e3),
)
def test_any_values(rows, max_norm):
    wide = with_grads([torch.tensor(row, dtype=F64) for row in rows])
    mine = with_grads([torch.tensor(row, dtype=F32) for row in rows])
    expected = torch.nn.utils.clip_grad_norm_(wide, max_norm)
    norm = ours.clip_grad_norm_(mine, max_norm)
    torch.testing.assert_close(norm.double(), expected, rtol=1e-6, atol=1e-37)
    for p, q in zip(wide, mine):
        torch.testing.assert_close(q.grad.double(), p.grad, rtol=1e-6, atol=1e-37)


def test_the_older_way_to_read_tensors_gives_the_same(monkeypatch):
    older = _native.Reader(
        tensor=torch.Tensor,
        parameter=nn.Parameter,
        exchange=None,
        dtypes=reader.DTYPES,
        increment_version=torch.autograd.graph.increment_version,
        measure=reader.measure_by_torch,
        scale=reader.scale_by_torch,
        clamp=reader.clamp_by_torch,
    )
    monkeypatch.setattr(reader, "READER", older)
    monkeypatch.setattr(clip_grad, "READER", older)
    for dtype in (F32, F64):
        check_norm(random_grads(8, dtype))
    for layout in ("transposed", "with gaps", "sparse", "complex"):
        if layout == "sparse" and not clips_sparse_gradients():
            continue
        check_norm([LAYOUTS[layout](torch.randn(4, 5)), torch.randn(3)])


def check_value(grads, clip_value=0.5, rtol=1e-6, **keywords):
    theirs, mine = pair(grads)
    torch.nn.utils.clip_grad_value_(theirs, clip_value, **keywords)
    assert ours.clip_grad_value_(mine, clip_value, **keywords) is None
    check_same(theirs, mine, rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [(F32, 1e-6), (F64, 1e-12), (F16, 1e-3), (BF16, 1e-2)])
@pytest.mark.parametrize("clip_value", [0.1, 0.7, 6e4, 0.0, math.inf, -0.5])
def test_values(dtype, rtol, clip_value):
    check_value(random_grads(9, dtype), clip_value, rtol)


@pytest.mark.parametrize("foreach", [None, True, False])
def test_values_of_every_layout(foreach):
    odd = torch.tensor([1.0, math.nan, math.inf, -math.inf, 0.0, 1e-40])
    check_value([odd, strided(torch.randn(4, 3)), torch.randn(5, 4).t()], foreach=foreach)
    check_value([torch.randn(4, requires_grad=True), None], foreach=foreach)
    theirs, mine = overlapping(0), overlapping(1)
    torch.nn.utils.clip_grad_value_(theirs, 2.5, foreach)
    ours.clip_grad_value_(mine, 2.5, foreach)
    check_same(theirs, mine)


def test_values_of_nothing():
    ours.clip_grad_value_([], 1.0)
    ours.clip_grad_value_([nn.Parameter(torch.zeros(2))], 1.0)
