import subprocess
import sys
import textwrap

import pytest

from statim import cache
from statim.data import python_docs, read_pairs
from statim.data.pairs import docstrings
from statim.errors import DataError

module = sys.modules["statim.data.pairs.python_docs"]

SOURCE = '''
"""The module.

{rest} of the module.
"""
import nothing_of_the_name

class Shape:
    """A shape of some kind,
    in a plane.

    {rest} of the class.
    """
    if True:
        async def area(self):
            """Compute the area of it all.

            {rest} of a method.
            """
            def inner():
                """Not seen here at all.

                {rest} of what is inside.
                """

def short():
    """Short and no rest at all."""

def same():
    """A function that repeats.

    {rest} of a method.
    """

def blank():
    """Brief.

    Too brief.
    """
'''.replace("{rest}", "This sentence goes on and on, so that it has sixty characters and more,")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STATIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution with the files given, installed where Python looks."""
    site = tmp_path / "site"

    def install(name, version, files):
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        for path, content in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(content)
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))

    monkeypatch.syspath_prepend(str(site))
    return install


def as_dict(pairs):
    return dict(zip(pairs.anchors.to_pylist(), pairs.positives.to_pylist(), strict=True))


def test_pairs_of_a_package(installed):
    files = {
        "statim_sample/__init__.py": SOURCE,
        "statim_sample/tests/test_it.py": SOURCE.replace("on and on", "over there"),
        "statim_sample/test_more.py": SOURCE.replace("on and on", "over there"),
        "statim_sample/conftest.py": SOURCE.replace("on and on", "over there"),
        "statim_sample/_vendor/x.py": SOURCE.replace("on and on", "over there"),
        "statim_sample/broken.py": SOURCE + "\ndef (",
        "statim_sample/odd.py": 'x = "\\d"\ndef f():\n    """Odd \\d escape of all.\n\n    '
        + "word " * 200
        + '\n    """\n',
    }
    installed("Statim-Sample", "1.0", files)
    rest = "This sentence goes on and on, so that it has sixty characters and more, of"
    pairs = as_dict(python_docs(["statim-sample"]))
    assert pairs == {
        "statim_sample: The module.": f"{rest} the module.",
        "statim_sample.Shape: A shape of some kind, in a plane.": f"{rest} the class.",
        "statim_sample.Shape.area: Compute the area of it all.": f"{rest} a method.",
        "statim_sample.odd.f: Odd \\d escape of all.": ("word " * 120).strip(),
    }
    assert as_dict(python_docs(["statim_sample"])) == pairs


def test_a_new_version_is_read_anew(installed):
    installed("statim-sample", "1.0", {"statim_sample.py": SOURCE})
    first = python_docs(["statim-sample"])
    files = list(cache.folder("python-docs").iterdir())
    assert len(files) == 1
    assert python_docs(["statim-sample"]).hash == first.hash
    files[0].write_bytes(files[0].read_bytes()[:100])
    assert python_docs(["statim-sample"]).hash == first.hash
    sys.path_importer_cache.clear()
    info = next(path for path in files[0].parents[2].glob("site/*.dist-info"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: statim-sample\nVersion: 1.1\n")
    assert python_docs(["statim-sample"]).hash == first.hash
    assert len(list(cache.folder("python-docs").iterdir())) == 2


def test_an_unwritable_cache_does_not_matter(installed, tmp_path):
    installed("statim-sample", "1.0", {"statim_sample.py": SOURCE})
    (tmp_path / "cache").write_text("a file in the way")
    assert len(python_docs(["statim-sample"])) == 3


def test_what_is_not_installed(installed):
    with pytest.raises(DataError, match="no package 'no-such-package' is installed here"):
        python_docs(["no-such-package"])
    installed("statim-empty", "1.0", {"statim_empty.py": "x = 1\n"})
    with pytest.raises(DataError, match="fewer than 2 pairs are in the documentation of statim-empty"):
        python_docs(["statim-empty"])


def test_the_standard_library(monkeypatch):
    pairs = python_docs(["stdlib"], threads=1)
    texts = as_dict(pairs)
    assert len(pairs) > 2_000
    anchor = "json.dumps: Serialize ``obj`` to a JSON formatted ``str``."
    assert texts[anchor].startswith("If ``skipkeys`` is true then ``dict`` keys that are not basic types")
    assert min(map(len, texts)) >= 20
    assert min(map(len, texts.values())) >= 60
    assert max(map(len, texts.values())) <= 600
    assert len(set(texts.values())) == len(texts) == len(pairs)
    assert not any(anchor.startswith(("test.", "idlelib.")) for anchor in texts)
    assert all(anchor == " ".join(anchor.split()) for anchor in texts)
    module_files = module._stdlib_files()[:450]
    here = module._parse(module_files, 1)
    assert sorted(module._parse(module_files, 2)) == sorted(here)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert sorted(module._parse(module_files, 2)) == sorted(here)


def test_word_for_the_source(installed, monkeypatch):
    installed("statim-sample", "1.0", {"statim_sample.py": SOURCE})
    docs = python_docs(["statim-sample"])
    monkeypatch.setattr("statim.data.pairs.reading.python_docs", lambda: docs)
    pairs = read_pairs("python-docs")
    assert pairs.hash == docs.hash
    assert str(pairs.report) == "python-docs: 3 rows (anchor = name and first paragraph, positive = the rest)"


def test_the_reader_runs_as_a_script(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(SOURCE)
    done = subprocess.run(
        [sys.executable, "-I", docstrings.__file__],
        input=f'["{path}", "a"]\n["{tmp_path}/no.py", "b"]\n'.encode(),
        capture_output=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert b"a.Shape.area" in first
    assert second == b"[]"
    assert done.stderr == b""


def test_files_that_cannot_be_parsed(tmp_path, monkeypatch):
    long = '"""A.\n\nB."""\n'
    cases = {
        "null.py": long + "\0",
        "deep.py": long + "(" * 100_000,
        "syntax.py": long + "def",
        "bytes.py": "x",
    }
    for name, content in cases.items():
        (tmp_path / name).write_text(content)
        assert docstrings.read(str(tmp_path / name), "m") == []
    (tmp_path / "good.py").write_text(textwrap.dedent(long))
    assert docstrings.read(str(tmp_path / "good.py"), "m") == [("m", "A.\n\nB.")]
    monkeypatch.setattr(docstrings, "MOST_BYTES", 5)
    assert docstrings.read(str(tmp_path / "good.py"), "m") == []
