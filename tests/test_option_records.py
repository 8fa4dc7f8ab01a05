"""Verbs whose options come from a record say the same in Python, in the shell and in their docstring."""

import dataclasses
import inspect
import re
from typing import get_type_hints

import pytest
import typer

from statim.cli import add_options, app
from statim.insight.maps.make_map import make_map
from statim.insight.maps.options import PANELS as MAP_PANELS
from statim.insight.maps.options import MapKeywords, MapOptions
from statim.mining.mine import mine_hard_negatives
from statim.mining.options import PANELS as MINING_PANELS
from statim.mining.options import MiningKeywords, MiningOptions
from statim.option import options_of
from statim.search.rerank import CrossEncoder
from statim.training.teach import teach
from statim.training.teach_options import PANELS as TEACH_PANELS
from statim.training.teach_options import TeachKeywords, TeachOptions
from statim.training.update import update
from statim.training.update_options import PANELS as UPDATE_PANELS
from statim.training.update_options import UpdateKeywords, UpdateOptions

# function, record, keywords, the function's own parameters, the verb's own options, panels
RECORDS = {
    "mine": (
        mine_hard_negatives, MiningOptions, MiningKeywords, {"data", "model"},
        {"out", "model", "teacher", "overwrite"}, MINING_PANELS,
    ),
    "map": (
        make_map, MapOptions, MapKeywords, {"documents", "model"},
        {"out", "model", "delimiter", "encoding", "overwrite"}, MAP_PANELS,
    ),
    "teach": (
        teach, TeachOptions, TeachKeywords, {"data", "teacher", "out"}, {"out", "teacher"}, TEACH_PANELS,
    ),
    "update": (
        update, UpdateOptions, UpdateKeywords, {"model", "new", "out"}, {"out", "model"}, UPDATE_PANELS,
    ),
}  # fmt: skip
NAMES = {"CrossEncoder": CrossEncoder}


@pytest.fixture(params=RECORDS)
def verb(request):
    return request.param


def test_keywords_are_the_fields(verb):
    function, record, keywords, own, _, _ = RECORDS[verb]
    fields = {field.name: field.default for field in dataclasses.fields(record)}
    shown = inspect.signature(function).parameters
    assert fields == {name: one.default for name, one in shown.items() if name not in own}
    assert shown.keys() == fields.keys() | own
    assert get_type_hints(keywords, localns=NAMES) == {
        name: kind for name, kind in get_type_hints(record, localns=NAMES).items() if name in fields
    }


def test_every_keyword_is_documented(verb):
    function = RECORDS[verb][0]
    section = inspect.getdoc(function).split("Args:\n")[1].split("\n\n")[0]
    described = re.findall(r"^    (\w+): ", section, re.MULTILINE)
    assert sorted(described) == sorted(inspect.signature(function).parameters)


def test_unknown_keywords_are_refused(verb):
    function = RECORDS[verb][0]
    with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) got an unexpected keyword argument 'z'$"):
        function([], z=1)


def test_the_command_line_has_the_same_options(verb):
    _, record, _, _, own, panels = RECORDS[verb]
    add_options()
    command = typer.main.get_command(app).commands[verb]
    found = {one.name: one for one in command.params if one.param_type_name == "option"}
    expected = {field.name: one for field, one in options_of(record) if one.flag != ""}
    assert found.keys() - {"json", "quiet"} == expected.keys() | own
    for name, one in expected.items():
        assert f"--{one.flag or name.replace('_', '-')}" in found[name].opts
        assert found[name].help == one.line()
        assert found[name].rich_help_panel == (one.panel or None)
    assert {one.panel for one in expected.values()} == {"", *panels}
    assert not {
        name for name, one in expected.items() if one.usual is not None and one.usual != getattr(record, name)
    }
