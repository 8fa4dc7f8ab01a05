"""Whole runs: what is kept, when they stop, how they go on."""

import dataclasses
import io
import json
import sys
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
import torch

from statim import progress, train
from statim.data.labelled.labelled import LabelledTexts
from statim.data.split import Split
from statim.errors import DependencyError, InputError, ModelError
from statim.evaluation.classification import evaluate_classification
from statim.model import StaticModel
from statim.settings import Settings
from statim.training.datasets.bags import TrainingSet
from statim.training.device.fit import fit as fit_on_device
from statim.training.device.optimizer import DeviceAdam
from statim.training.hyperparameters import SCHEDULES
from statim.training.initial_tables import random_table
from statim.training.loop.optimizer import SparseAdam
from statim.training.loop.trainer import DivergenceError, begin, fit, learning_rates
from statim.training.recipe import Recipe
from statim.training.run import checkpoint, heldout
from statim.training.run.callbacks import Best, Callbacks
from statim.training.run.checkpoint import Checkpoints
from statim.training.run.history import History
from statim.training.run.validation import Validation
from statim.vocabulary import learn_wordpiece

QUICK = {"start": "random", "dim": 32, "batch": 16, "threads": 1, "baselines": False}


def log(folder):
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


@pytest.fixture
def interrupted(monkeypatch):
    """Have runs interrupted (Ctrl-C) once the checkpoint of a step is written; gives the way to end that."""

    def at(step):
        save = Checkpoints.save

        def and_stop(self, optimizer, *rest):
            save(self, optimizer, *rest)
            if optimizer.step == step:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoints, "save", and_stop)
        return lambda: monkeypatch.setattr(Checkpoints, "save", save)

    return at


def test_the_log_and_the_evaluations(pairs, tmp_path):
    result = train(pairs, out=tmp_path / "m", heldout=0, development=40, epochs=3, evaluate_every=4, **QUICK)
    entries = log(tmp_path / "m")
    steps = [entry for entry in entries if "loss" in entry]
    scores = [(entry["step"], entry["ndcg@10"]) for entry in entries if "ndcg@10" in entry]
    total = result.steps
    assert [entry["step"] for entry in steps] == list(range(1, total + 1))
    assert [entry["loss"] for entry in steps] == list(result.losses)
    assert [entry["pairs"] for entry in steps] == [16 * step for step in range(1, total + 1)]
    per_epoch = total // 3
    assert [entry["epoch"] for entry in steps] == [1] * per_epoch + [2] * per_epoch + [3] * per_epoch
    assert [entry["rate"] for entry in steps] == list(learning_rates(total, result.recipe)[1:])
    assert [step for step, _ in scores] == sorted({*range(0, total, 4), total})
    assert scores == result.development
    assert result.to_dict()["development"]["ndcg@10"] == scores
    assert result.kept == total
    with_score = {entry["step"]: entry["best"] for entry in entries if "ndcg@10" in entry}
    running = -1.0
    for step, score in scores:
        assert with_score[step] == (score > running)
        running = max(running, score)
    assert (tmp_path / "m" / "training.html").read_text().startswith("<!doctype html>")


def test_a_finished_run_is_not_gone_on_with(pairs, tmp_path):
    train(pairs, out=tmp_path / "m", heldout=0, epochs=1, **QUICK)
    with pytest.raises(ModelError, match=r"no interrupted training into .*m .*it is finished"):
        train(out=tmp_path / "m", resume=True)


def test_the_line_on_the_terminal(pairs, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    result = train(pairs, heldout=0, development=40, epochs=3, progress=True, **QUICK)
    shown = sys.stderr.getvalue()
    for words in ("train", "pairs/s", f"loss {result.losses[-20:].mean():.3f}"):
        assert words in shown
    assert f"held-out NDCG@10 {result.development[-1][1]:.3f}" in shown


def test_the_last_score_is_that_of_the_saved_model(pairs, rows, tmp_path):
    held = rows[::7]
    result = train(rows, out=tmp_path / "m", heldout=0, development=0, epochs=2, **QUICK)
    assert result.development == []
    path = tmp_path / "held.jsonl"
    path.write_text("".join(json.dumps({"anchor": a, "positive": p}) + "\n" for a, p in held))
    result = train(rows, heldout=path, development=path, epochs=2, **QUICK)
    assert result.comparison["trained"].metrics["ndcg@10"] == pytest.approx(result.development[-1][1])
    assert result.comparison["start"].metrics["ndcg@10"] == pytest.approx(result.development[0][1])


def test_the_best_table_is_kept(pairs):
    """Evaluated by itself, the model has the best score of the log, where the last table has a worse one."""
    ruin = {
        "learning_rate": 300.0,
        "schedule": "constant",
        "heldout": 0,
        "development": 60,
        "evaluate_every": 1,
    }
    best = train(pairs, keep="best", epochs=2, **ruin, **QUICK)
    step, score = max(best.development, key=lambda entry: (entry[1], -entry[0]))
    assert best.kept == step
    assert best.development[-1][1] < score
    from statim.training.run.heldout import hold_out

    parts = hold_out(pairs, 0, 60, seed=0, kind="pairs", names={})
    judge = Validation(parts.development, best.model.tokenizer, best.model.settings, 1)
    assert judge.score(best.model.table) == score
    last = train(pairs, epochs=2, **ruin, **QUICK)
    assert last.kept == last.steps
    assert judge.score(last.model.table) == last.development[-1][1] == best.development[-1][1]


def test_patience_counts_evaluations_without_a_gain():
    best, table = Best(keep=True), np.zeros((1, 1), np.float32)
    gains = [best.see(step, score, table + step) for step, score in enumerate([0.2, 0.3, 0.3, 0.25, 0.31])]
    assert gains == [True, True, False, False, True]  # an equal score is no gain
    assert (best.step, best.score, best.waited) == (4, 0.31, 0)
    assert best.table[0, 0] == 4


def test_a_stopped_run_stays_stopped(pairs, tmp_path, interrupted):
    """Killed between the last evaluation and the end, a run without patience left does not train on."""
    options = {
        "heldout": 0,
        "development": 60,
        "evaluate_every": 1,
        "learning_rate": 300.0,
        "warmup": 0.0,
    } | QUICK
    options |= {"patience": 2, "checkpoint_every": 1, "epochs": 50}
    whole = train(pairs, out=tmp_path / "whole", **options)
    assert len(whole.losses) < whole.steps
    undo = interrupted(len(whole.losses))
    with pytest.raises(KeyboardInterrupt):
        train(pairs, out=tmp_path / "m", **options)
    undo()
    again = train(pairs, out=tmp_path / "m", resume=True)
    assert list(again.losses) == list(whole.losses)
    assert again.development == whole.development
    np.testing.assert_array_equal(again.model.table, whole.model.table)


def test_another_rate_from_a_checkpoint_on(pairs, tmp_path, interrupted):
    """The same as one run whose rates change there."""
    options = {"heldout": 0, "epochs": 3, "checkpoint_every": 10} | QUICK
    undo = interrupted(20)
    with pytest.raises(KeyboardInterrupt):
        train(pairs, out=tmp_path / "m", learning_rate=0.2, **options)
    undo()
    with pytest.raises(InputError, match="learning rate"):
        train(pairs, out=tmp_path / "m", resume=True, learning_rate=-1.0)
    undo = interrupted(30)
    with pytest.raises(KeyboardInterrupt):
        train(pairs, out=tmp_path / "m", resume=True, learning_rate=0.01)
    undo()
    found = train(pairs, out=tmp_path / "m", resume=True)  # the changed rate is remembered
    assert found.changes == [(20, 0.01)]
    recipe = Recipe.make(len(pairs), None, dim=32, batch=16, epochs=3, learning_rate=0.2)
    rates = learning_rates(found.steps, recipe, [(20, 0.01)])
    low = learning_rates(found.steps, dataclasses.replace(recipe, learning_rate=0.01))
    np.testing.assert_array_equal(rates[21:], low[21:])
    np.testing.assert_array_equal(rates[:21], learning_rates(found.steps, recipe)[:21])
    assert [entry["rate"] for entry in log(tmp_path / "m")] == list(rates[1:])
    tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
    table = random_table(tokenizer.vocabulary_size, 32, 0)
    table[tokenizer.unknown_id] = 0
    data = TrainingSet.of(pairs, tokenizer)
    straight = begin(table, data, recipe, 1, [(20, 0.01)])
    fit(data, straight, recipe)
    np.testing.assert_allclose(found.model.table, straight.current(), rtol=2e-3, atol=2e-4)
    assert "learning rate after step 20: 0.01" in (tmp_path / "m" / "README.md").read_text()


def test_a_run_that_diverges_keeps_its_checkpoint(pairs, tmp_path, monkeypatch):
    save = Checkpoints.save

    def and_ruin(self, optimizer, *rest):
        save(self, optimizer, *rest)
        if optimizer.step == 20:
            optimizer.table[:] = np.nan

    monkeypatch.setattr(Checkpoints, "save", and_ruin)
    options = {"heldout": 0, "epochs": 3, "checkpoint_every": 10} | QUICK
    with pytest.raises(
        InputError, match=r"nan at step 21.*diverged.*checkpoint of step 20.*--resume .*m "
    ) as caught:
        train(pairs, out=tmp_path / "m", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m").exists()
    monkeypatch.undo()
    result = train(out=tmp_path / "m", data=pairs, resume=True, learning_rate=0.05)
    assert np.isfinite(result.losses).all()
    assert result.losses[-1] < result.losses[0]


def test_a_ruined_table_is_neither_saved_nor_evaluated(pairs, tmp_path, monkeypatch):
    update = SparseAdam.update

    def and_ruin(self, plan, gradient):
        update(self, plan, gradient)
        if self.step == 4:
            self.table[0, 0] = np.inf  # a row that no batch needs: the loss stays finite

    monkeypatch.setattr(SparseAdam, "update", and_ruin)
    for options in ({"checkpoint_every": 2, "development": 0}, {"evaluate_every": 2, "development": 20}):
        with pytest.raises(
            DivergenceError if "evaluate_every" in options else InputError, match="after step 4"
        ):
            train(pairs, out=tmp_path / "m", heldout=0, epochs=3, **options, **QUICK)
    assert not checkpoint.folder(tmp_path / "m").exists()  # of the second run, which had no checkpoint


def test_objects_are_given_again(pairs, tmp_path, interrupted):
    options = {"heldout": 0, "epochs": 2, "checkpoint_every": 5} | QUICK
    undo = interrupted(5)
    with pytest.raises(KeyboardInterrupt):
        train(pairs, out=tmp_path / "m", **options)
    undo()
    with pytest.raises(InputError, match="data of the interrupted training was an object in memory"):
        train(out=tmp_path / "m", resume=True)
    with pytest.raises(InputError, match="pairs are not those"):
        train(pairs.select(np.arange(100)), out=tmp_path / "m", resume=True)
    assert checkpoint.newest_step(tmp_path / "m") == 5  # a refusal costs nothing
    train(pairs, out=tmp_path / "m", resume=True)


def test_another_start_is_refused(pairs, tmp_path, interrupted):
    options = {"heldout": 0, "epochs": 2, "checkpoint_every": 5} | QUICK
    train(pairs, out=tmp_path / "start", **options)
    undo = interrupted(5)
    options |= {"start": tmp_path / "start", "dim": None}
    with pytest.raises(KeyboardInterrupt):
        train(pairs, out=tmp_path / "m", **options)
    undo()
    model = StaticModel.load(tmp_path / "start")
    other = StaticModel(model.table + 1, model.tokenizer)
    other.save(tmp_path / "start", overwrite=True)
    with pytest.raises(InputError, match="another start"):
        train(pairs, out=tmp_path / "m", resume=True)


def test_schedules():
    """Against torch's own."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    base = Recipe.make(1000, None, learning_rate=0.5, warmup=0.2)
    ours = {kind: learning_rates(50, dataclasses.replace(base, schedule=kind))[1:] for kind in SCHEDULES}
    for kind, rates in ours.items():
        np.testing.assert_allclose(rates[:10], 0.5 * np.arange(1, 11) / 10, err_msg=kind)
    for kind, make in {
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=41),
        "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=41),
        "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0),
    }.items():
        optimizer = torch.optim.SGD([parameter], lr=0.5)
        schedule, theirs = make(optimizer), []
        for _ in range(41):
            theirs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        np.testing.assert_allclose(ours[kind][9:], theirs, atol=1e-12, err_msg=kind)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_schedules_at_their_ends(schedule, warmup):
    for total in (1, 2, 7):
        rates = learning_rates(
            total, Recipe.make(1000, None, learning_rate=0.5, schedule=schedule, warmup=warmup)
        )
        assert rates.max() == pytest.approx(0.5)
        assert (rates[1:] > 0).all()
        assert rates[0] == 0


def test_tensorboard_missing(pairs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DependencyError, match=r"TensorBoard is not installed.*statim\[tensorboard\]"):
        train(pairs, out=tmp_path / "m", tensorboard=tmp_path / "board", heldout=0, epochs=1, **QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own
def test_tensorboard(pairs, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(pairs, tensorboard=tmp_path / "board", heldout=0, development=40, epochs=1, **QUICK)
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    losses = [event.value for event in events.Scalars("loss")]
    np.testing.assert_allclose(losses, result.losses, rtol=1e-6)
    scores = [(event.step, event.value) for event in events.Scalars("development/ndcg@10")]
    np.testing.assert_allclose(scores, result.development, rtol=1e-6)


def test_a_device_pauses_for_evaluations_and_checkpoints(pairs, tmp_path):
    """Where a table lives on a device, it is looked at only after the steps that were announced."""
    tokenizer = learn_wordpiece([pairs.anchors, pairs.positives])
    data, recipe = (
        TrainingSet.of(pairs, tokenizer),
        Recipe.make(len(pairs), None, dim=32, batch=16, epochs=3, learning_rate=300.0, precision="fp32"),
    )
    judge = Validation(pairs.select(np.arange(60)), tokenizer, Settings(), 1)
    table = random_table(tokenizer.vocabulary_size, 32, 0)
    found = []
    for on_device in (False, True):
        out = tmp_path / str(on_device)
        optimizer = begin(table.copy(), data, recipe, 1)
        with checkpoint.opened(out, resume=False), closing(Checkpoints(out, 3 * table.nbytes, 6)) as saved:
            watch = Callbacks(
                recipe, len(data), History(), Best(True), development=judge, every=3, patience=2,
                checkpoints=saved
            )  # fmt: skip
            last = DeviceAdam(optimizer, torch.device("cpu")) if on_device else optimizer
            watch.begin(last)
            if on_device:
                fit_on_device(data, last, recipe, on_step=watch, needs_state=watch.pauses)
            else:
                fit(data, last, recipe, on_step=watch)
            saved.close()
            state = checkpoint.load(out, optimizer.rates, 1, recipe)
        found.append((watch, last, state))
    (ours, _, (before, about, _)), (theirs, _, (after, about_theirs, extra)) = found
    assert ours.stops
    assert theirs.stops
    assert [step for step, _ in ours.history.evaluations] == [step for step, _ in theirs.history.evaluations]
    assert len(theirs.history.losses) == theirs.history.evaluations[-1][0] < len(optimizer.rates) - 1
    np.testing.assert_allclose(ours.history.losses, theirs.history.losses, rtol=1e-3)
    assert before.step == after.step
    assert before.step % 6 == 0
    np.testing.assert_allclose(before.table, after.table, rtol=1e-2, atol=0.5)
    assert about["best"]["step"] == about_theirs["best"]["step"]
    np.testing.assert_array_equal(extra["best"], theirs.best.table)


def test_probes_of_very_many_texts_are_fitted_to_some_and_it_is_said(monkeypatch):
    random = np.random.default_rng(0)
    topics = np.append(random.integers(0, 4, 599), 4)  # one label occurs once
    texts = [" ".join(f"t{topic}w{i}" for i in random.integers(0, 40, 6)) for topic in topics]
    data = LabelledTexts(pa.array(texts, pa.large_string()), pa.array(map(str, topics), pa.large_string()))
    assert heldout.probed(data) is data
    parts = Split(data.select(range(500)), data.select([]), data.select(range(500, 600)), 0, 0, 0, (0, 0))
    model = train(data, heldout=0, epochs=2, **QUICK).model
    whole = heldout.measure(parts, {"trained": model}).to_dict()
    assert whole["rows"][0]["metrics"] == evaluate_classification(model, parts.train, parts.test)
    assert whole["remarks"] == ["100 texts."]
    monkeypatch.setattr(heldout, "FEW", 40)
    monkeypatch.setattr(heldout, "PROBED", 500)
    some = heldout.probed(data)
    assert len(some) == 100  # 500 / 5 labels
    assert set(some.labels.to_pylist()) == set("01234")
    assert set(some.texts.to_pylist()) <= set(texts)
    assert heldout.probed(data).hash == some.hash
    found = heldout.measure(parts, {"trained": model}).to_dict()
    assert found["remarks"] == ["100 texts.", "The probes are fitted to 125 of the 500 training texts."]
    known = heldout.probed(parts.train)
    assert found["rows"][0]["metrics"] == evaluate_classification(model, known, parts.test)
