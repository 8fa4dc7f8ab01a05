"""The bundled model: what it is, what it knows, and that it loads by its name and with nothing heavy."""

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models as kinds

import statim
from statim import formats, models
from statim.errors import ModelError

HASH = "d550b145f358b49430f6ec513087dea83c49651a4d34b9d8256c4d5903c065f6"
ASKED = {
    "when can I buy bread?": "The bakery opens at seven in the morning.",
    "is the dog scared of storms?": "Our pet is afraid of thunder and lightning.",
    "how often do trains leave?": "There is a railway connection to the coast every hour.",
    "my computer does not start": "The laptop cannot be switched on.",
    "what should I take against a headache?": "Aspirin helps if your head hurts.",
    "how do I get my money back?": "Refunds are paid to the card that you used.",
    "which planet is the largest?": "Jupiter is bigger than all the others.",
    "open a file and read its lines": "The function gives the contents of a text document, row by row.",
}


@pytest.fixture(scope="module")
def english():
    return statim.StaticModel.load("english")


def test_documents_in_another_language_are_told(english, tmp_path, caplog):
    german = [
        "Der Hund hat Angst vor dem Gewitter.",
        "Die Züge fahren jede Stunde an die Küste.",
        "Wir haben das Brot und die Milch in der Küche.",
        "Das ist nicht der Weg zu dem Haus.",
    ]
    statim.Index.build(english, german, tmp_path / "de")
    assert "the documents are in the language de and the model is for en" in caplog.text
    caplog.clear()
    statim.Index.build(english, list(ASKED.values()), tmp_path / "en")
    assert "language" not in caplog.text
    statim.Index.build(english, ["I do a reset", "Do I pay in a shop", "A a a"], tmp_path / "few")
    assert "language" not in caplog.text


def test_what_it_is(english):
    assert (english.hash, english.dim, english.dtype) == (HASH, 256, "int8")
    assert english.settings.normalize
    assert english.tokenizer.phrases > 5_000
    assert english.tokenizer.kind == "WordPiece"
    assert english.tokenizer.is_fast


def test_its_size_in_a_wheel():
    folder, wheel = models.folder_of("english"), io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder))
    assert 1_000_000 < len(wheel.getvalue()) <= 16_000_000


def test_its_card_says_where_it_comes_from():
    card = (models.folder_of("english") / "README.md").read_text(encoding="utf-8")
    for said in (
        "all-MiniLM-L6-v2",
        "paraphrase-MiniLM-L3-v2",
        "Apache License 2.0",
        "CC BY-SA 4.0",
        "cannot do",
    ):
        assert said in card
    assert "| english |" in card


@pytest.mark.parametrize("dim", [256, 128, 64])
def test_questions_find_their_answers(english, dim):
    asked, answers = (english.encode(list(texts), dim=dim) for texts in (ASKED, ASKED.values()))
    found = (asked @ answers.T).argmax(axis=1)
    assert (found == np.arange(len(ASKED))).mean() >= (0.99 if dim == 256 else 0.75)


def test_likeness_of_sentences(english):
    near = english.similarity("A man is playing the guitar.", "Someone plays a guitar.")
    far = english.similarity("A man is playing the guitar.", "The stock market fell on Monday.")
    assert near > 0.7
    assert far < 0.25


def test_the_name_goes_before_a_folder(tmp_path, monkeypatch, english):
    monkeypatch.chdir(tmp_path)
    backend = tokenizers.Tokenizer(kinds.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    statim.StaticModel(np.eye(2), backend).save("english")
    assert statim.StaticModel.load("english").hash == english.hash
    assert statim.StaticModel.load("./english").dim == 2
    assert statim.StaticModel.load(Path("english")).dim == 2


def test_library_functions_take_none_and_its_name(tmp_path, english):
    texts = list(ASKED.values())
    for number, model in enumerate((None, "english", english)):
        index = statim.Index.build(model, texts, tmp_path / str(number))
        assert index.model.hash == english.hash
        assert index.search("when can I buy bread?", k=1)[0].text == texts[0]
    found = statim.find_duplicates([*texts, texts[0].upper()], threshold=0.9)
    assert len(found.groups()) == 2


def test_it_is_missing(monkeypatch):
    monkeypatch.setattr(models, "BUNDLED", ("english", "elvish"))
    with pytest.raises(
        ModelError, match=r"'elvish', which comes with statim, is missing .* install statim again"
    ):
        statim.StaticModel.load("elvish")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("lost", [True, False])
def test_it_is_damaged(tmp_path, monkeypatch, name, lost):
    folder = Path(shutil.copytree(models.folder_of("english"), tmp_path / "english"))
    content = (folder / name).read_bytes()
    if lost:
        (folder / name).unlink()
    else:
        middle = len(content) // 2
        (folder / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    monkeypatch.setattr(formats.models, "folder_of", lambda _: folder)
    with pytest.raises(
        ModelError, match=r"'english', which comes with statim, is not whole: .* install statim"
    ):
        statim.StaticModel.load("english")


def test_a_cold_process_loads_nothing_heavy():
    code = """
        import sys, statim
        model = statim.StaticModel.load("english")
        assert model.encode("a question").shape == (256,)
        print(sorted({"torch", "numba", "pyarrow", "scipy", "sklearn", "huggingface_hub"} & set(sys.modules)))
        """
    program = "\n".join(line.strip() for line in code.strip().splitlines())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
