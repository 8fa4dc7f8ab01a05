"""The triton kernels against plain torch: on a GPU where there is one, else interpreted."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from statim.training.device import loss, tiles
from statim.training.device.fit import fit
from statim.training.device.optimizer import DeviceAdam

pytest.importorskip("triton")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


HERE = DEVICE.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
here = pytest.mark.skipif(not HERE, reason="runs in a process of its own, see test_interpreted")


@pytest.mark.skipif(HERE, reason="the kernels run in this process")
def test_interpreted():
    """Whether to interpret is decided when triton is imported, which other tests may have done."""
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(run, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


def arguments(problem, tensors, levels=(3, 40, 150), masked=True):
    """A tile of more than one square each way, with a zero vector each side."""
    given = problem(2, 70, 150, levels[-1], 4 if masked else 1)
    given[0][5], given[1][9] = 0, 0
    a, p, columns, hidden = tensors(*given, torch.float32)
    inverse = [
        loss._inverse_norms(part, loss._members(levels, part.dtype, part.device)).to(DEVICE)
        for part in (a, p)
    ]
    hidden = tuple(part.to(DEVICE) for part in hidden)
    assert (len(hidden[0]) > 0) == masked
    a, p, columns = a.bfloat16().to(DEVICE), p.bfloat16().to(DEVICE), columns.to(DEVICE)
    return a, p, *inverse, columns, hidden, levels, 20.0


@here
@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize(("both", "masked"), [(False, True), (True, True), (True, False)])
def test_tiles(problem, tensors, both, masked, limited):
    from statim.kernels.gpu import contrast

    given = arguments(problem, tensors, masked=masked)
    pulls, backward = [0.3, 0.1, 0.2], None
    limits = torch.linspace(-0.1, 0.1, 70, device=DEVICE) + 1e-6 if limited else None
    tops, sums, aims = tiles.column_statistics(*given, limits)
    if both:
        for found, expected in zip(
            contrast.column_statistics(*given, limits), (tops, sums, aims), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        backward = tops, 0.1 / (1 + sums), -0.1 / (1 + aims.exp())
    value, h, row_sums, column_sums = tiles.coefficients(*given, pulls, backward, limits)
    found = contrast.coefficients(*given, pulls, backward, limits)
    torch.testing.assert_close(found[0], value, rtol=1e-5, atol=0)
    torch.testing.assert_close(found[2], row_sums, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[3], column_sums, rtol=1e-4, atol=1e-5)
    for level in range(3):
        size = h[level].abs().max().item()
        torch.testing.assert_close(found[1][level].float(), h[level].float(), rtol=1e-2, atol=1e-4 * size)
    a, p, levels = given[0], given[1], given[6]
    gradients = [[torch.ones(part.shape, device=DEVICE) for part in (a, p)] for _ in range(2)]
    tiles.add_gradients(h, a, p, levels, *gradients[0])
    contrast.add_gradients(torch.stack(h), a, p, levels, *gradients[1])
    for expected, got in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@here
@pytest.mark.filterwarnings("ignore:All-NaN slice")  # of the interpreter
def test_a_nan_stays_one(problem, tensors):
    from statim.kernels.gpu import contrast

    given = list(arguments(problem, tensors))
    given[0][7, 100] = float("nan")
    value, *_ = contrast.coefficients(*given, [1.0, 1.0, 1.0], None)
    assert value.isnan()


@here
@pytest.mark.parametrize("d", [24, 1030])
def test_rows(d):
    from statim.kernels.gpu import rows

    rng = np.random.default_rng(0)
    V, U, m, step = 90, 50, 30, 9
    table, first = (torch.tensor(rng.standard_normal((V, d)), dtype=torch.float32) for _ in range(2))
    second = torch.tensor(rng.random((V, d)), dtype=torch.float32)
    last = torch.tensor(rng.integers(0, step + 1, V), dtype=torch.int32)
    occur = torch.tensor(np.sort(rng.choice(V, U, replace=False)))
    drift, powers = torch.linspace(2, 0, 20).double(), 0.9 ** torch.arange(20).double()
    decays = (0.9 ** torch.arange(20.0)).to(DEVICE), (0.999 ** torch.arange(20.0)).to(DEVICE)
    sizes = torch.tensor([*rng.integers(0, 9, U - 3), 64, 65, 700])
    row_offsets = torch.cat([torch.zeros(1), sizes.cumsum(0)]).long() + 5  # somewhere in a block's arrays
    E = int(row_offsets[-1])
    positions, shares = torch.tensor(rng.integers(0, m, E), dtype=torch.int32), torch.rand(E)
    extra = [(u, int(row_offsets[u]) + s) for u in range(U) for s in range(64, int(sizes[u]), 64)]
    parts = [u for u, _ in extra], [s for _, s in extra], [U - 2, U - 1], [0, 1], [1, 10]
    gradients = torch.tensor(rng.standard_normal((m, d)), dtype=torch.float32)
    results = []
    for functions in (rows, rows):
        state = [part.clone().to(DEVICE) for part in (table, first, second, last)]
        move = lambda part: part.to(DEVICE)  # noqa: E731
        brought = functions.bring(*state, move(occur), step, move(drift), move(powers), 1e-12, torch.float32)
        gathered, squares = functions.gather(
            move(gradients), move(positions), move(shares), move(row_offsets), slice(5, E),
            tuple(torch.tensor(part, device=DEVICE) for part in parts),
        )  # fmt: skip
        pooled = functions.pool(brought, move(positions), move(shares), move(row_offsets), slice(5, E))
        functions.adam(
            *state,
            move(occur),
            gathered,
            torch.tensor(0.7, device=DEVICE),
            step + 1,
            decays,
            (0.9, 0.999),
            0.1,
            1e-12,
        )
        results.append([brought, gathered, squares.float(), pooled, *state])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)
    assert not torch.equal(results[1][4].cpu(), table)


@here
def test_a_whole_training_stays_near_plain_torch(small, begin, monkeypatch):
    recipe, start = begin(small, epochs=1, batch=27, precision="bf16", both_directions=True)
    found = DeviceAdam(start, DEVICE, half=True)
    fit(small, found, recipe)
    if DEVICE.type == "cuda":  # interpreted, it takes too long
        again = DeviceAdam(start, DEVICE, half=True)
        fit(small, again, recipe)
        np.testing.assert_array_equal(found.current(), again.current())
    monkeypatch.setenv("STATIM_TRITON", "0")
    exact = DeviceAdam(start, torch.device("cpu"))
    fit(small, exact, begin(small, epochs=1, batch=27, both_directions=True)[0])
    moves = np.linalg.norm(exact.current() - start.table)
    assert 0 < np.linalg.norm(found.current() - exact.current()) < 0.15 * moves
