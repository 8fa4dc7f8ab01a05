"""One flipped bit in small files and in the cache: one sentence or the same content, never another one."""

import contextlib
import sys

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from statim.data import python_docs
from statim.data.files import resumable
from statim.data.pairs.pairs import Pairs
from statim.errors import InputError, ModelError, StatimError
from statim.files import read_json
from statim.tokenizer.tokenizer import Tokenizer
from statim.tokenizer.tokens import Tokens
from statim.training import teaching
from statim.training.datasets import bags
from statim.training.datasets.bags import TrainingSet

RUN = {"the model": "0" * 64, "--column": None}
ABOUT = {"options": {"epochs": 1, "learning_rate": 0.5}, "teacher": "a" * 64}


def flips(path):
    """Flip a bit of each byte, one byte at a time; in the end the file is as before."""
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.unlink(missing_ok=True)
        path.write_bytes(damaged)
        yield place
    path.write_bytes(whole)


def cutter():
    backend = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, **{f"w{i}": i for i in range(1, 9)}}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return Tokenizer(backend)


@pytest.fixture(autouse=True)
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_tokens(tmp_path):
    path, tokens = tmp_path / "t.safetensors", cutter()(["w1 w2", "w3 zz", ""])
    tokens.save(path)
    refused = 0
    for _ in flips(path):
        try:
            found = Tokens.load(path)
        except ModelError as error:
            refused += "t.safetensors" in str(error)
        else:  # the name of the digest is damaged, nothing else
            assert (found.ids.tolist(), found.offsets.tolist()) == (
                tokens.ids.tolist(),
                tokens.offsets.tolist(),
            )
    assert refused > path.stat().st_size - 2 * len("statim_digest")


def test_tokenized_pairs(cached, monkeypatch):
    monkeypatch.setattr(bags, "CACHED_FROM", 2)
    pairs = Pairs(pa.array(["w1 w2", "w3"]), pa.array(["w2", "w4"]))
    whole = TrainingSet.of(pairs, cutter())
    again, made = [], TrainingSet._of
    monkeypatch.setattr(TrainingSet, "_of", lambda *_: again.append(1) or whole)
    whole = whole._arrays() and made(pairs, cutter(), 1)
    (path,) = cached.rglob("*.safetensors")
    size = path.stat().st_size
    monkeypatch.setattr(bags, "save_tensors", lambda *_, **options: None)
    for _ in flips(path):
        found = TrainingSet.of(pairs, cutter())._arrays()
        for name, array in whole._arrays().items():
            np.testing.assert_array_equal(array, found[name])
    assert size - 2 * len("statim_digest") < len(again) < size  # of the digest's name nothing else depends


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("ids", np.array([9], np.int32)),
        ("anchors", np.array([0, 4], np.int32)),
        ("candidates", np.array([[0], [-2]], np.int32)),
        ("known_offsets", np.array([0, 2, 1, 3, 4], np.int64)),
        ("totals", np.zeros(4, np.int64)),
    ],
)
def test_tokenized_pairs_that_do_not_fit(cached, monkeypatch, name, array):
    """With a digest that is right: what another program may have written."""
    monkeypatch.setattr(bags, "CACHED_FROM", 2)
    pairs = Pairs(pa.array(["w1 w2", "w3"]), pa.array(["w2", "w4"]))
    whole = TrainingSet.of(pairs, cutter())
    (path,) = cached.rglob("*.safetensors")
    bags.save_tensors(path, {**whole._arrays(), name: array}, {"same": "0"}, sealed=True)
    with pytest.raises(ModelError, match="does not hold these tokenized pairs"):
        TrainingSet._load(path, pairs, 9)
    np.testing.assert_array_equal(TrainingSet.of(pairs, cutter()).bags.ids, whole.bags.ids)


def test_pairs_of_documentation(tmp_path, cached, monkeypatch):
    text = "This is a sentence that goes on and on, so that it has more than sixty characters."
    info = tmp_path / "site" / "sample-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n")
    source = "".join(
        f'def f{i}():\n    """Do the thing number {i}.\n\n    {text}{i}\n    """\n' for i in "ab"
    )
    (tmp_path / "site" / "sample.py").write_text(source)
    (info / "RECORD").write_text("sample.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    whole = python_docs(["sample"], threads=1)
    (path,) = cached.rglob("*.safetensors")
    read = sys.modules["statim.data.pairs.python_docs"]._cached
    table = read(path)
    assert table.column("anchor").to_pylist() == whole.anchors.to_pylist() == [
        "sample.fa: Do the thing number a.", "sample.fb: Do the thing number b.",
    ]  # fmt: skip
    kept = [found for _ in flips(path) if (found := read(path)) is not None]
    assert all(found.equals(table) for found in kept)
    assert len(kept) < 2 * len("statim_digest")  # of which nothing else depends


def stop(out, *, resume, run=RUN):
    """Begin an encoding, or go on with it, and stop; gives what was known."""
    with pytest.raises(KeyboardInterrupt), resumable.unfinished(out, run, resume=resume) as output:
        found = output.progress
        if not resume:
            output.file.write(b"some")
            output.save({"texts": 3, "hash": "abc"})
        raise KeyboardInterrupt
    return found


@pytest.mark.parametrize("name", ["run.json", "progress.json"])
def test_what_an_encoding_has_left(tmp_path, name):
    stop(tmp_path / "v.npy", resume=False)
    path = tmp_path / "v.npy.encoding" / name
    refused = 0
    for _ in flips(path):
        try:
            with resumable.unfinished(tmp_path / "v.npy", RUN, resume=True) as output:
                assert output.progress.items() >= {"texts": 3, "hash": "abc", "bytes": 4}.items()
                raise KeyboardInterrupt
        except (ModelError, InputError) as error:
            refused += "\n" not in str(error)
        except KeyboardInterrupt:
            pass
    assert refused > path.stat().st_size / 2
    assert stop(tmp_path / "v.npy", resume=True) == {"texts": 3, "hash": "abc", "bytes": 4}


def test_what_a_teaching_has_left(tmp_path):
    place = teaching.folder(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), teaching.opened(tmp_path / "out", ABOUT, resume=False):
        (place / "checkpoint-1").mkdir()
        (place / "checkpoint-1" / "trainer_state.json").write_text("{}")
        raise KeyboardInterrupt
    refused = 0
    for _ in flips(place / "run.json"):
        try:
            teaching._refuse_changed(place, ABOUT)
        except StatimError as error:
            refused += "\n" not in str(error)
        else:  # what is damaged is white space, or the digest's name
            found = read_json(place / "run.json")
            assert {name: found[name] for name in ABOUT} == ABOUT
    assert refused > 100
    teaching._refuse_changed(place, ABOUT)


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.json"])
def test_pairs_that_a_teaching_has_left(tmp_path, monkeypatch, name):
    run, table = teaching.Run(tmp_path), pa.table({"anchor": ["text 1", "text 2"]})
    run.pairs(lambda: (table, 7))

    def again():
        raise KeyboardInterrupt

    kept = 0
    for _ in flips(tmp_path / name):
        with contextlib.suppress(KeyboardInterrupt):
            assert run.pairs(again)[0].equals(table)
            kept += 1
    assert kept == 0 if name == "pairs.parquet" else kept < 40
    assert run.pairs(again)[1] == 7
