"""The options of a training say the same in Python, on the command line, in the documentation and on the
model card.
"""

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import typer

import statim.model
import statim.tokenizer
from statim.cli import app
from statim.cli import train as command
from statim.errors import InputError
from statim.option import options_of
from statim.training.hyperparameters import RecipeOptions
from statim.training.keywords import LoopKeywords, RecipeKeywords, TrainKeywords
from statim.training.options import PANELS, TrainOptions
from statim.training.recipe import Recipe
from statim.training.sentence_transformer import fit_sentence_transformer
from statim.training.train import train

ROOT = Path(__file__).parent.parent.parent
FIELDS = {field.name: one for field, one in options_of(TrainOptions)}
MODELS = {"StaticModel": statim.model.StaticModel, "Tokenizer": statim.tokenizer.Tokenizer}
PYTHON_ONLY = {"data", "progress", "weights"}  # the sources, --quiet, and what belongs to levels
RESOLVED = {
    "asymmetric": "documents_by",
    "levels": "matryoshka",
    "least_share": "precision",
    "teacher_weights": "teacher",
}


def test_without_torch_the_command_line_works_and_training_says_what_it_needs():
    code = """if True:
        import sys
        sys.modules["torch"] = None
        import statim
        from statim.errors import StatimError
        from statim.cli import main
        for name in ("train", "teach", "fit_sentence_transformer"):
            try:
                getattr(statim, name)
            except StatimError as error:
                print(error)
        sys.argv = ["statim", "train", "pairs.jsonl", "--out", "model"]
        main()
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    said = 'training needs torch, which is not installed; pip install "statim[train]"\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, said * 3, f"error: {said}")


def documented(function):
    """The names that a docstring's Args section describes, in order."""
    section = inspect.getdoc(function).split("Args:\n")[1].split("\n\n")[0]
    return re.findall(r"^    (\w+): ", section, re.MULTILINE)


def flags():
    """Flag -> the keyword it is for, from the parser itself."""
    command.add_options()
    group = typer.main.get_command(app)
    return {
        flag: param
        for param in group.commands["train"].params
        if param.param_type_name == "option"
        for flag in param.opts
        if flag.startswith("--")
    }


def test_keywords_are_the_fields():
    shown = inspect.signature(train).parameters
    assert {"data", "out", *TrainKeywords.__annotations__} == FIELDS.keys() == shown.keys()
    defaults = {field.name: field.default for field in dataclasses.fields(TrainOptions)}
    assert {name: one.default for name, one in shown.items()} == defaults
    types = get_type_hints(TrainOptions, localns=MODELS)
    assert get_type_hints(TrainKeywords, localns=MODELS) == {
        name: types[name] for name in TrainKeywords.__annotations__
    }
    recipe = {field.name for field in dataclasses.fields(RecipeOptions)}
    assert RecipeKeywords.__annotations__.keys() == recipe - {"matryoshka"}


def test_every_keyword_is_documented():
    assert sorted(documented(train)) == sorted(inspect.signature(train).parameters)
    shown = inspect.signature(fit_sentence_transformer).parameters
    assert set(documented(fit_sentence_transformer)) == set(shown)
    assert shown.keys() >= LoopKeywords.__annotations__.keys()


def test_unknown_keywords_are_refused():
    with pytest.raises(TypeError, match=r"^train\(\) got an unexpected keyword argument 'epoch'$"):
        train("python-docs", epoch=3)
    with pytest.raises(TypeError, match=r"^fit_sentence_transformer\(\) got .* 'hard_negatives'$"):
        fit_sentence_transformer(None, [], hard_negatives=1)


def test_the_command_line_has_the_same_options():
    found = {param.name for param in flags().values()} - {"help", "json", "quiet", "no_baselines"}
    assert found == FIELDS.keys() - PYTHON_ONLY
    for name, one in FIELDS.items():
        flag = one.flag if one.flag is not None else name.replace("_", "-")
        assert (f"--{flag}" in flags()) is (name not in PYTHON_ONLY)
    described = {param.name: param for param in flags().values()}
    for name in found:
        assert described[name].help == FIELDS[name].line()
        assert (described[name].rich_help_panel or "") == FIELDS[name].panel
    assert set(command.WRITTEN) <= found


def test_ten_options_come_first_and_the_others_in_panels(statim_help):
    sections = re.split(r"^(\w[\w ]*):\n", statim_help, flags=re.MULTILINE)[1:]
    panels = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(panels) == ["Arguments", "Options", *PANELS]
    assert re.findall(r"^  (?:-\w, )?--([a-z-]+)", panels["Options"], re.MULTILINE) == [
        "start", "loss", "dim", "batch", "epochs", "learning-rate", "heldout", "out", "resume", "overwrite",
        "help",
    ]  # fmt: skip
    assert max(map(len, panels["Options"].splitlines())) <= 80


@pytest.fixture
def statim_help(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    command.add_options()
    context = typer.main.get_command(app).make_context("statim", ["info", "x"])
    return typer.main.get_command(app).commands["train"].get_help(context)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_documentation_names_options_that_exist(page):
    for line in re.findall(r"statim train [^`\n]*", page.read_text(encoding="utf-8")):
        for flag in set(re.findall(r"(?<!\S)--[a-z][a-z-]*", line)) - {"--help"}:
            assert flag in flags(), f"{page.name}: {line}"


def test_the_page_lists_every_option():
    page = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`--[\w-]+`|) \| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    expected = []
    for panel in ("", *PANELS):
        for name, one in FIELDS.items():
            if one.panel == panel and name not in ("data", "progress"):
                flag = one.flag if one.flag is not None else name.replace("_", "-")
                expected.append((f"`--{flag}`" if flag else "", name, one.line()))
    assert rows == expected


def test_the_model_card_lists_what_may_be_chosen():
    listed = {RESOLVED.get(name, name) for name in Recipe.make(1000, None).to_dict()}
    assert listed <= FIELDS.keys()
    chosen = {field.name for field in dataclasses.fields(RecipeOptions)}
    assert listed - chosen == {"set_weights", "set_limits", "documents_by", "teacher"}
    assert chosen <= listed


def test_the_recipe_has_the_usual_values():
    recipe = Recipe.make(1000, None)
    for name, one in FIELDS.items():
        if one.usual not in (None, "auto") and hasattr(recipe, name):
            assert getattr(recipe, name) == one.usual


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("evaluate_every", 0, "evaluate-every is 0; it must be a whole number of at least 1"),
        ("keep_checkpoints", -1, "keep-checkpoints is -1; it must be a whole number of at least 0"),
        ("patience", 1.5, r"patience is 1\.5; it must be a whole number of at least 1"),
        ("keep", "all", "keep is 'all'; it must be one of last, best"),
        ("warmup", 2, "warm-up is 2; it must be a number from 0 to 1"),
        ("patience", True, "patience is True; it must be a whole number"),
    ],
)
def test_values_out_of_bounds_are_refused(name, value, words):
    with pytest.raises(InputError, match=f"^{words}"):
        train("python-docs", **{name: value})
