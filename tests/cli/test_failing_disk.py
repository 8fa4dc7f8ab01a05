"""What the operating system refuses anywhere: one sentence, exit code 2, nothing half-written."""

import errno
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_bad_input import refused

from statim.model import StaticModel

VERBS = {
    "encode.npy": ["encode", "MODEL", "TEXTS", "--out", "OUT.npy"],
    "encode.parquet": ["encode", "MODEL", "TEXTS", "--out", "OUT.parquet"],
    "encode.jsonl": ["encode", "MODEL", "TEXTS", "--out", "OUT.jsonl"],
    "quantize": ["quantize", "MODEL", "--out", "OUT"],
    "index": ["index", "build", "MODEL", "TEXTS", "--out", "OUT"],
    "duplicates": ["duplicates", "TEXTS", "--model", "MODEL", "--out", "OUT.parquet"],
    "train": ["train", "PAIRS", "--out", "OUT", "--start", "random", "--epochs", "1", "--no-baselines"],
}
CALLS = ("fsync", "replace", "chmod", "mkdir")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"how do I call number {i}?\n" for i in range(300)))
    return path


@pytest.fixture
def arguments(tmp_path, model_folder, texts, pairs):
    """The arguments of a verb of VERBS, and its output."""
    (tmp_path / "out").mkdir()
    names = {"MODEL": str(model_folder), "TEXTS": str(texts), "PAIRS": str(pairs)}

    def made(verb):
        given = [
            str(tmp_path / "out" / word.lower()) if word.startswith("OUT") else names.get(word, word)
            for word in VERBS[verb]
        ]
        return [*given, "--quiet"] if verb == "train" else given, tmp_path / "out"

    return made


def content(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("reason", [errno.EIO, errno.ENOSYS])
@pytest.mark.parametrize("verb", VERBS)
def test_every_refused_call_is_one_sentence(statim, arguments, monkeypatch, verb, reason):
    """The first, second, third, fifth ... call of a kind that concerns the output fails, until none does."""
    given, place = arguments(verb)
    for call in CALLS if reason == errno.EIO else ("fsync",):
        for k in (1, 2, 3, 5, 8, 13, 21, 34, 55):
            number, real = itertools.count(1), getattr(os, call)

            def fail(*names, real=real, number=number, k=k, **options):
                target = (
                    names[0] if not isinstance(names[0], int) else os.readlink(f"/proc/self/fd/{names[0]}")
                )
                if str(target).startswith(f"{place}/") and next(number) == k:
                    raise OSError(reason, os.strerror(reason))
                return real(*names, **options)

            with monkeypatch.context() as patch:
                patch.setattr(os, call, fail)
                code, _, err = result = statim(*given)
            if code == 0:
                break
            refused(result, "cannot write", str(place))
            assert os.strerror(reason).lower()[:5] in err.lower() or "disk" in err
            whole = {name: data for name, data in content(place).items() if ".training" not in name}
            assert not [name for name in whole if "partial" in name]
            for path in list(place.iterdir()):
                subprocess.run(["rm", "-r", path], check=True)
        assert k > 1 or call in ("chmod", "mkdir")
        for path in list(place.iterdir()):
            subprocess.run(["rm", "-r", path], check=True)


def test_training_goes_on_without_its_cache(statim, tmp_path, pairs, monkeypatch):
    monkeypatch.setattr("statim.training.datasets.bags.CACHED_FROM", 1)
    sync, cache = os.fsync, str(tmp_path / "cache")

    def fail(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(cache):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    options = ["--start", "random", "--epochs", 1, "--no-baselines"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        code, _, err = statim("train", pairs, "--out", tmp_path / "without", *options)
    assert code == 0, err
    assert err.count("the cache cannot be written") == 1
    assert statim("train", pairs, "--out", tmp_path / "with", *options)[0] == 0
    assert StaticModel.load(tmp_path / "without").hash == StaticModel.load(tmp_path / "with").hash


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error", "/mnt/a"), ["/mnt/a: Input/output error; check the file"]),
        (
            PermissionError(errno.EACCES, "Permission denied", b"/mnt/\xff"),
            ["/mnt/\\udcff: Permission denied"],
        ),
        (OSError(errno.ENOSPC, "No space left on device"), ["the disk is full"]),
        (OSError("something of a library"), ["something of a library"]),
        (MemoryError(), ["not enough memory"]),
    ],
)
def test_what_escapes_is_one_sentence(statim, model_folder, monkeypatch, error, words):
    def fail(*_):
        raise error

    monkeypatch.setattr("statim.model.StaticModel.load", fail)
    refused(statim("encode", model_folder, "/dev/null"), *words)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("verb", [["info", "MODEL"], ["encode", "MODEL", "TEXTS"], ["--help"]])
def test_a_full_standard_output(model_folder, texts, verb):
    names = {"MODEL": str(model_folder), "TEXTS": str(texts)}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "statim", *[names.get(word, word) for word in verb]],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: cannot read a file or write the output: the disk is full; "
        "free some space or choose another place\n"
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="names must be UTF-8 there")
@pytest.mark.parametrize("name", ["caf\udce9", "\udcff", "字 a\nb", "\x1b[2Ja"])
def test_names_that_are_not_utf8(statim, tmp_path, model_folder, texts, pairs, name):
    """Every verb reads from them and writes to them; what is printed as JSON gives the name back."""
    model = tmp_path / f"{name}.model"
    os.rename(texts, tmp_path / f"{name}.txt")
    os.rename(pairs, tmp_path / f"{name}.jsonl")
    given, train = tmp_path / f"{name}.txt", tmp_path / f"{name}.jsonl"
    runs = [
        ["train", train, "--out", model, "--start", "random", "--epochs", 1, "--no-baselines", "--json"],
        *(["encode", model, given, "--out", tmp_path / f"{name}{suffix}", "--json"]
          for suffix in (".npy", ".parquet", "-out.jsonl")),
        ["encode", model, tmp_path / f"{name}.parquet", "--out", tmp_path / f"{name}.2.npy", "--json"],
        ["quantize", model, "--out", tmp_path / f"{name}.q", "--json"],
        ["index", "build", model, given, "--out", tmp_path / f"{name}.index", "--json"],
        ["index", "info", tmp_path / f"{name}.index", "--json"],
        ["info", model, "--json"],
    ]  # fmt: skip
    for run in runs:
        code, out, err = statim(*run)
        assert code == 0, err
        found = json.loads(out)
        place = str(next(found[key] for key in ("out", "path", "model") if key in found))
        assert name in place, (run, out)
        assert Path(place).exists()
    # a name with a bracket is a pattern, where no file has it
    model_missing, text_missing = (
        ["matches no file"] * 2 if "[" in name else ["neither a folder nor a file", "cannot be read"]
    )
    refused(statim("encode", tmp_path / f"no {name}", given), "no ", model_missing)
    refused(statim("encode", model, tmp_path / f"no {name}.txt"), text_missing)
    assert (tmp_path / f"{name}.npy").read_bytes() == (tmp_path / f"{name}.2.npy").read_bytes()
