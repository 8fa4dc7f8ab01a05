"""A map's page in a real browser."""

import json

import numpy as np
import pyarrow as pa
import pytest

from browser import browser, missing
from statim.insight.maps.make_map import make_map
from statim.insight.maps.write_map import write_map

READY = "typeof state !== 'undefined' && state.loaded === 2"
WORDS = ["guitar", "violin", "melody", "oven", "onion", "recipe", "engine", "wheel", "brake"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    random = np.random.default_rng(0)
    rows = [
        {"text": f"{' '.join(random.choice(WORDS, 3))} {i}", "even": ["no", "yes"][i % 2], "number": i}
        for i in range(120)
    ]
    rows[0]["text"] = "</script><script>window.harmed = 1</script> piano"
    pytest.importorskip("pydeck")
    path = tmp_path_factory.mktemp("map") / "map.html"
    write_map(make_map(pa.Table.from_pylist(rows), method="pca", against="english"), path)
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory, place):
    if why := missing():
        pytest.skip(why)
    with browser(tmp_path_factory.mktemp("profile"), webgl=True) as window:
        window.size(1000, 700)
        window.open(place.as_uri())
        window.wait(READY)
        yield window
        assert window.run("return state.failed") is None
        assert window.errors() == []


def told(page):
    return page.run("return document.getElementById('count').textContent")


def listed(page):
    return page.run("return [...document.querySelectorAll('#list button')].map((one) => one.textContent)")


def place_of(page, text, pane=0):
    """Where a text's point is on the screen."""
    return page.run(
        "const pane = state.panes[arguments[1]], box = pane.element.getBoundingClientRect();"
        "const at = [pane.space.x[arguments[0]], pane.space.y[arguments[0]]];"
        "const [x, y] = pane.deck.getViewports()[0].project(at);"
        "return [Math.round(box.left + x), Math.round(box.top + y)]",
        text, pane,
    )  # fmt: skip


def test_search_lists_what_it_finds(page):
    assert told(page) == "120 texts"
    page.press("/")
    page.press("piano"[0])
    page.type("#search", "iano")
    page.wait("document.getElementById('count').textContent === '1 found'")
    assert listed(page) == ["</script><script>window.harmed = 1</script> piano"]
    assert page.run("return window.harmed") is None
    page.press("Escape")
    assert told(page) == "120 texts"


def test_hover_shows_the_text_in_both_spaces(page):
    at = place_of(page, 5, pane=1)
    page.drag((at[0] + 40, at[1] + 40))
    page.drag(at)
    page.wait("!document.getElementById('tip').hidden")
    hovered = page.run("return state.hover")
    shown = page.run("return document.getElementById('tip').textContent")
    assert shown.startswith(page.run("return state.data.texts[state.hover]"))
    assert f"number{hovered}" in shown
    for pane in range(2):
        layers = page.run(f"return state.panes[{pane}].layers().map((layer) => [layer.id, layer.props.data])")
        assert ["hover", [hovered]] in layers


def test_lasso(page):
    page.click("#lasso")
    x, y = place_of(page, 7)
    page.drag((x - 12, y - 12), (x + 12, y - 12), (x + 12, y + 12), (x - 12, y + 12))
    page.wait("state.chosen && state.chosen.has(7)")
    count = page.run("return state.chosen.size")
    assert 1 <= count < 60
    assert told(page) == f"{count} in the lasso"
    assert len(listed(page)) == count
    rows = page.run("return rows()")
    assert {"row": 7, "number": 7, "even": "yes"}.items() <= next(r for r in rows if r["row"] == 7).items()
    page.click("#clear")
    assert page.run("return state.chosen") is None


def test_color_by_a_column(page):
    page.run(
        "const box = document.getElementById('color'); box.value = 1; box.dispatchEvent(new Event('change'))"
    )
    entries = page.run("return [...document.querySelectorAll('#legend b')].map((one) => one.textContent)")
    assert sorted(entries) == ["no", "yes"]
    first, second = page.run("return [[...state.colors.slice(0, 3)], [...state.colors.slice(4, 7)]]")
    assert first != second
    page.click("#legend button")
    assert told(page) == "60 chosen"
    assert json.loads(page.run("return JSON.stringify([...state.chosen].slice(0, 2))")) == [0, 2]
    page.press("Escape")


def test_small_and_dark(page):
    page.size(390, 700, dark=True)
    page.open(page.run("return location.href"))
    page.wait(READY)
    assert page.run("return document.documentElement.scrollWidth") <= 390
    assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    for pane in range(2):  # all but the outermost points are seen
        inside = page.run(
            "const pane = state.panes[arguments[0]], {clientWidth: w, clientHeight: h} = pane.element;"
            "return pane.space.x.filter((x, i) => { const [a, b] = pane.deck.getViewports()[0]"
            ".project([x, pane.space.y[i]]); return a >= 0 && b >= 0 && a <= w && b <= h }).length",
            pane,
        )
        assert inside >= 114
