"""Training on tensors against the processor's path: the same batches, losses and tables."""

import dataclasses

import numpy as np
import pytest
import torch

from statim.errors import InputError
from statim.training.datasets.batches import Assembler
from statim.training.device.fit import choose, fit
from statim.training.device.optimizer import DeviceAdam
from statim.training.device.plans import CHUNK, DeviceData
from statim.training.loop.optimizer import SparseAdam
from statim.training.loop.trainer import fit as fit_on_processor

CPU = torch.device("cpu")


def test_plans_are_the_batches_of_the_assembler(data, begin):
    pairs = np.random.default_rng(1).permutation(len(data))[:480].reshape(6, 80)
    assemble = Assembler(data, 80)
    vocabulary = len(begin(data)[1].table)
    extras = masks = 0
    for batch, chosen in zip(
        DeviceData(data, vocabulary, CPU).plan(torch.from_numpy(pairs)), pairs, strict=True
    ):
        texts, targets = assemble(chosen)
        # columns may stand in another order: compare each by its text
        bags = data.bags
        entries = [
            slice(*pair) for pair in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True)
        ]
        ids = batch.rows[batch.entry_rows.long()[batch.entries]].tolist()
        ids = dict(enumerate(ids, batch.entries.start))
        contents = [
            sorted((ids[e], round(batch.shares[e].item(), 5)) for e in range(part.start, part.stop))
            for part in entries
        ]
        expected = [
            sorted(
                (int(bags.ids[e]), round(bags.counts[e] / bags.totals[text], 5))
                for e in range(bags.offsets[text], bags.offsets[text + 1])
            )
            for text in texts
        ]
        assert batch.texts == len(texts)
        assert contents[:80] == expected[:80]
        assert sorted(contents[80:]) == sorted(expected[80:])
        assert [contents[80 + c] for c in batch.columns] == [expected[80 + c] for c in targets.columns]
        found = sorted(
            (int(r), contents[80 + c]) for r, c in zip(batch.masked_rows, batch.masked_columns, strict=True)
        )
        rows = np.repeat(np.arange(80), np.diff(targets.masked_offsets))
        assert found == sorted((int(r), expected[80 + c]) for r, c in zip(rows, targets.masked, strict=True))
        assert (batch.masked_rows.diff() >= 0).all()
        masks += len(found)
        # the same entries, row after row
        by_row = [
            (int(batch.rows[u]), int(batch.positions[e]), round(batch.row_shares[e].item(), 5))
            for u in range(len(batch.rows))
            for e in range(batch.row_offsets[u], batch.row_offsets[u + 1])
        ]
        by_text = [(row, text, share) for text, content in enumerate(contents) for row, share in content]
        assert by_row == sorted(by_text)
        assert batch.entries == slice(int(batch.row_offsets[0]), int(batch.row_offsets[-1]))
        # the parts of frequent rows
        sizes = batch.row_offsets.diff()
        parts = [
            (u, int(batch.row_offsets[u]) + start)
            for u in range(len(sizes))
            for start in range(CHUNK, int(sizes[u]), CHUNK)
        ]
        assert list(zip(batch.extra_rows.tolist(), batch.extra_starts.tolist(), strict=True)) == parts
        assert batch.heavy.tolist() == sorted({u for u, _ in parts})
        for u, start, count in zip(batch.heavy, batch.heavy_firsts, batch.heavy_parts, strict=True):
            assert batch.extra_rows[start : start + count].tolist() == [u] * int(count)
        extras += len(parts)
    assert extras > 10
    assert masks > 10


@pytest.mark.parametrize("both", [False, True])
def test_trains_the_table_that_the_processors_path_trains(data, begin, both):
    recipe, start = begin(data, both_directions=both)
    expected = SparseAdam(start.table.copy(), start.rates, 2, start.clip)
    losses, found_losses = [], []
    fit_on_processor(data, expected, recipe, on_step=lambda _, loss: losses.append(loss))
    found = DeviceAdam(start, CPU)
    fit(data, found, recipe, on_step=lambda _, loss: found_losses.append(loss))
    assert len(losses) == 21
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(found_losses, losses, rtol=2e-5)
    np.testing.assert_allclose(found.current(), expected.current(), atol=2e-4)
    moved = np.abs(expected.current() - start.table).max()
    assert moved > 0.1
    np.testing.assert_array_equal(found.state().last, expected.last)
    np.testing.assert_allclose(found.state().second, expected.second, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("mix", ["together", "turn"])
def test_mixes_several_sets_as_the_processors_path_does(data, begin, mix):
    sets = (np.arange(len(data)) % 5 == 0).astype(np.uint16)
    mixed = dataclasses.replace(data, names=("large", "small"), sets=sets)
    recipe, start = begin(mixed, mix=mix, set_weights=(0.5, 3.0), batch=32)
    expected = SparseAdam(start.table.copy(), start.rates, 2, start.clip)
    losses, found_losses = [], []
    fit_on_processor(mixed, expected, recipe, on_step=lambda _, loss: losses.append(loss))
    found = DeviceAdam(start, CPU)
    fit(mixed, found, recipe, on_step=lambda _, loss: found_losses.append(loss))
    np.testing.assert_allclose(found_losses, losses, rtol=2e-5)
    np.testing.assert_allclose(found.current(), expected.current(), atol=2e-4)


def test_goes_on_from_its_state_to_the_same_bits(data, begin):
    recipe, start = begin(data)
    whole = DeviceAdam(start, CPU)
    fit(data, whole, recipe)

    class StoppedError(Exception):
        pass

    states = []

    def stop(state, loss):
        assert np.isfinite(loss)
        if state.step % 5 == 0:
            states.append(state.state())
        if state.step == 12:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(data, DeviceAdam(start, CPU), recipe, on_step=stop, needs_state=lambda step: step % 5 == 0)
    assert [state.step for state in states] == [5, 10]
    resumed = DeviceAdam(states[-1], CPU)
    fit(data, resumed, recipe)
    np.testing.assert_array_equal(resumed.current(), whole.current())
    np.testing.assert_array_equal(resumed.state().first, whole.state().first)


def test_a_state_that_has_moved_on_is_not_given_away(data, begin):
    recipe, start = begin(data)
    with pytest.raises(RuntimeError, match="needs_state"):
        fit(data, DeviceAdam(start, CPU), recipe, on_step=lambda state, _: state.state())


def test_half_precision_stays_near(data, begin):
    recipe, start = begin(data, epochs=1)
    exact = DeviceAdam(start, CPU)
    fit(data, exact, recipe)
    recipe, _ = begin(data, epochs=1, precision="bf16")
    near = DeviceAdam(start, CPU, half=True)
    fit(data, near, recipe)
    moves = exact.current() - start.table
    off = np.linalg.norm(near.current() - exact.current())
    assert 0 < off < 0.15 * np.linalg.norm(moves)


def test_divergence_is_named(data, begin):
    recipe, start = begin(data)
    start.table[5] = np.nan
    with pytest.raises(InputError, match="at step 1: training has diverged"):
        fit(data, DeviceAdam(start, CPU), recipe)


def test_choose():
    assert choose("cpu") == CPU
    if not torch.cuda.is_available():
        assert choose("auto") == CPU
        with pytest.raises(InputError, match="torch sees no GPU"):
            choose("cuda")
    with pytest.raises(InputError, match="must be one of auto, cpu, cuda"):
        choose("tpu")


SOME = np.where(np.arange(300) % 3 == 0, 0.0, np.where(np.arange(300) % 3 == 1, 0.5, 1.0)).astype(np.float32)
KNOBS = {"weight_decay": 0.3, "token_dropout": 0.4, "false_negative_margin": 0.05, "row_rates": SOME}


PULLED = {"decay_to": "start"}


@pytest.mark.parametrize(
    "names", [*([name] for name in KNOBS), list(KNOBS), ["weight_decay", *PULLED], [*KNOBS, *PULLED]]
)
def test_every_knob_does_what_it_does_on_the_processor(data, begin, names):
    knobs = KNOBS | PULLED
    recipe, start = begin(data, **{name: knobs[name] for name in names})
    _, expected = begin(data, **{name: knobs[name] for name in names})
    losses, found_losses = [], []
    fit_on_processor(data, expected, recipe, on_step=lambda _, loss: losses.append(loss))
    found = DeviceAdam(start, CPU)
    fit(data, found, recipe, on_step=lambda _, loss: found_losses.append(loss))
    np.testing.assert_allclose(found_losses, losses, rtol=2e-5)
    np.testing.assert_allclose(found.current(), expected.current(), atol=2e-4)
    np.testing.assert_array_equal(found.state().last, expected.last)
    np.testing.assert_allclose(found.state().first, expected.first, atol=1e-6)
    plain = DeviceAdam(begin(data)[1], CPU)
    fit(data, plain, begin(data)[0])
    assert np.abs(plain.current() - found.current()).max() > 0.03
    if "row_rates" in names:
        np.testing.assert_array_equal(found.current()[SOME == 0], start.table[SOME == 0])


def test_with_all_knobs_it_goes_on_to_the_same_bits(data, begin):
    recipe, start = begin(data, **KNOBS)
    whole, states = DeviceAdam(start, CPU), []

    def keep(state, _):
        if state.step == 10:
            states.append(state.state())

    fit(data, whole, recipe, on_step=keep, needs_state=lambda step: step == 10)
    resumed = DeviceAdam(states[0], CPU)
    fit(data, resumed, recipe)
    np.testing.assert_array_equal(resumed.current(), whole.current())
    on_processor = states[0]
    fit_on_processor(data, on_processor, recipe)  # and there it can go on, too
    np.testing.assert_allclose(on_processor.current(), whole.current(), atol=2e-4)
