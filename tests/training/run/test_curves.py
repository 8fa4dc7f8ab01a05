import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from statim.training.recipe import Recipe
from statim.training.result import TrainingResult
from statim.training.run import curves

SVG = "{http://www.w3.org/2000/svg}"


def result(losses, development=(), references=(), kept=0, start="a <random> start"):
    recipe = Recipe.make(500, None)
    counts = {"train": 400, "development": 50}
    return TrainingResult(
        None, recipe, None, counts, {"train": 1.0}, start, None, np.array(losses, float),
        steps=len(losses), kept=kept, development=list(development), references=dict(references),
    )  # fmt: skip


def charts(page):
    """The large drawings of a page, as XML."""
    found = re.findall(r'<svg viewBox="0 0 760.*?</svg>', page, re.DOTALL)
    return [ET.fromstring(text) for text in found]


def places(path):
    return [tuple(map(float, pair.split())) for pair in path.get("d")[1:].split(" L")]


def test_points_stand_where_they_should():
    page = curves.page(
        result(np.linspace(4, 1, 100), [(0, 0.2), (50, 0.5), (100, 0.4)], {"bm25": 0.3, "teacher": 0.6}, 50)
    )
    loss, score = charts(page)
    texts = [text.text for text in score.iter("text")]
    assert {"0.2", "0.6", "0", "100", "step", "NDCG@10"} <= set(texts)
    lines = [places(path) for path in score.iter("path")]
    assert [len(line) for line in lines] == [3, 2, 2]
    (x0, y0), (x1, y1), (x2, y2) = lines[0]
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert (y0 - y2) / (y0 - y1) == pytest.approx((0.4 - 0.2) / (0.5 - 0.2), abs=0.01)
    assert lines[1][0][1] == lines[1][1][1]
    assert y1 > lines[2][0][1]  # the teacher is higher, so nearer to the top
    titles = [circle.find("title").text for circle in score.iter("circle")]
    assert titles == ["step 0: NDCG@10 0.2000", "step 50: NDCG@10 0.5000", "step 100: NDCG@10 0.4000"]
    assert [circle.get("stroke") is not None for circle in score.iter("circle")] == [False, True, False]
    each, mean = (places(path) for path in loss.iter("path"))
    assert len(each) == len(mean) == 100
    assert [y for _, y in each] == sorted(y for _, y in each)  # the loss falls: y grows downwards
    for drawing in (loss, score):
        for path in drawing.iter("path"):
            for x, y in places(path):
                assert curves.LEFT <= x <= curves.WIDTH - curves.RIGHT
                assert curves.TOP <= y <= curves.HEIGHT - curves.BOTTOM


def test_nothing_is_fetched_and_text_is_escaped():
    page = curves.page(result([1.0, 2.0]))
    assert "&lt;random&gt;" in page
    assert "<random>" not in page
    assert not re.search(r"https?://|src=|@import|<script|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert len(charts(page)) == 1


def test_long_runs_are_thinned_to_means():
    losses = np.random.default_rng(0).standard_normal(100_003) + 3
    page = curves.page(result(losses))
    assert len(page) < 60_000
    (chart,) = charts(page)
    each, mean = (places(path) for path in chart.iter("path"))
    assert len(each) <= curves.MOST
    assert "mean of every 167 steps" in page
    # the thinned line keeps the mean: that is the middle of the picture of such noise
    ys = np.array([y for _, y in each])
    assert abs(ys.mean() - np.mean([y for _, y in mean])) < 30


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.5, 0.5), (0.7312, 0.7319), (3, 108), (0, 1e6), (-2, 5)])
def test_ticks_are_round_and_enclose(low, high):
    ticks = curves._ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert len(set(np.round(np.diff(ticks), 9))) == 1


def test_one_step_and_equal_scores():
    page = curves.page(result([2.0], [(0, 0.5), (1, 0.5)]))
    for chart in charts(page):
        for path in chart.iter("path"):
            assert np.isfinite(places(path)).all()
