"""Scores in 8 bits, against integers in numpy; and what is done where the processor cannot."""

import numpy as np
import pytest
from problems import random_problem

from statim.kernels.floats import FAST_BFLOAT16
from statim.kernels.int8_dot import FAST_BYTES
from statim.kernels.training.scores import corrections, depths, multiply, pack, quantise
from statim.training.losses import contrastive as module
from statim.training.losses.contrastive import contrastive

fast = pytest.mark.skipif(not FAST_BYTES, reason="the processor has no AVX-512 VNNI")


def quantised(vectors, levels):
    places = depths(levels)
    out = np.zeros((len(vectors), places[-1]), np.int8)
    scales = np.zeros((len(levels), len(vectors)), np.float32)
    quantise(vectors, levels, places, 0, len(vectors), scales, out)
    return places, out, scales


def test_each_block_is_rounded_at_the_scale_of_its_largest_entry():
    levels = np.array([3, 10, 24])
    vectors = np.random.default_rng(0).standard_normal((9, 24)).astype(np.float32)
    vectors[:, 10:] *= 1000
    vectors[4, :3] = 0
    places, out, scales = quantised(vectors, levels)
    for level, (start, end) in enumerate([(0, 3), (3, 10), (10, 24)]):
        block = out[:, places[level] : places[level + 1]]
        back = block * scales[level][:, None]
        largest = np.abs(vectors[:, start:end]).max(axis=1)
        assert (
            np.abs(back[:, : end - start] - vectors[:, start:end]).max(axis=1) <= 0.51 * largest / 127
        ).all()
        assert not block[:, end - start :].any()
        assert (np.abs(block).max(axis=1) == np.where(largest > 0, 127, 0)).all()


@fast
@pytest.mark.parametrize(("rows", "columns"), [((0, 37), (0, 128)), ((5, 9), (64, 96)), ((36, 37), (32, 64))])
def test_products_equal_those_of_integers(rows, columns):
    rng, levels = np.random.default_rng(1), np.array([10, 24, 96])
    a, p = (rng.standard_normal((n, 96)).astype(np.float32) for n in (37, 128))
    a[3, 10:24] = -np.abs(a[3, 10:24]).max()  # the largest sums of one sign
    p[70, 10:24] = a[3, 10:24]
    places, own, scales_a = quantised(a, levels)
    _, theirs, scales_p = quantised(p, levels)
    sums, packed = np.empty((3, 37), np.int32), np.empty(theirs.size // 4, np.int32)
    corrections(own, places, 0, 37, sums)
    pack(theirs, places, 0, len(p), packed)
    out = np.zeros((3, rows[1] - rows[0], columns[1] - columns[0]), np.int16)
    multiply(own, sums, scales_a, packed, scales_p, places, rows, columns, out)
    found = (out.astype(np.int32) << 16).view(np.float32)
    for level in range(3):
        block = slice(places[level], places[level + 1])
        whole = own[slice(*rows), block].astype(np.int64) @ theirs[slice(*columns), block].astype(np.int64).T
        expected = whole * np.outer(scales_a[level, slice(*rows)], scales_p[level, slice(*columns)]).astype(
            float
        )
        np.testing.assert_allclose(found[level], expected, rtol=2**-8)  # bfloat16


@pytest.mark.parametrize("least_share", [0.0, 1e-9])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_gradient_stays_near_that_of_float32(threads, least_share):
    anchors, candidates, targets = random_problem(6, 257, 300, 130, np.float32)
    given = {"levels": (33, 130), "tile_rows": 100, "threads": threads}
    exact_loss, exact = contrastive(anchors, candidates, targets, **given)
    loss, gradient = contrastive(
        anchors, candidates, targets, precision="int8", least_share=least_share, **given
    )
    assert loss == pytest.approx(exact_loss, rel=1e-2)
    differs = np.linalg.norm(gradient - exact) / np.linalg.norm(exact)
    if FAST_BFLOAT16 or (FAST_BYTES and least_share):
        assert 0 < differs < 0.05
    else:
        assert differs == 0  # nothing is rounded where the processor gains nothing by it


def test_a_processor_without_the_instruction_takes_bfloat16(monkeypatch):
    problem = random_problem(6, 64, 80, 32, np.float32)
    monkeypatch.setattr(module, "FAST_BYTES", False)
    runs = [contrastive(*problem, levels=(8, 32), precision=precision) for precision in ("int8", "bf16")]
    assert runs[0][0] == runs[1][0]
    np.testing.assert_array_equal(runs[0][1], runs[1][1])


def test_a_nan_vector_gives_a_nan_loss_in_8_bits_too():
    anchors, candidates, targets = random_problem(7, 6, 6, 8, np.float32)
    anchors[2, 3] = np.nan
    loss, _ = contrastive(anchors, candidates, targets, levels=(8,), precision="int8", least_share=0.1)
    assert np.isnan(loss)
