"""The search page in a real browser."""

import pytest
from running import running

from browser import browser, missing

KEY = "open-sesame"


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    if why := missing():
        pytest.skip(why)
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(window, server):
    window.size(1280, 800)
    window.open("about:blank")
    window.open(server.url)
    window.run("localStorage.clear(); sessionStorage.clear()")
    window.wait("document.querySelector('#status').textContent === '20 documents'")
    yield window
    assert window.errors() == []


def ids(page):
    return page.run("return state.hits.map((hit) => hit.id)")


def titles(page, selector):
    return page.run(
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector
    )


def test_search_as_you_type(page):
    page.type("#query", "sort a list")
    page.wait("document.querySelector('#status').textContent.includes('best of 20')")
    assert titles(page, ".hit:first-child b") == ["sort-list"]
    assert titles(page, ".hit:first-child mark") == ["sort", "list"]
    assert titles(page, ".hit:first-child dd") == ["sort", "4"]
    assert page.run("return location.hash") == "#q=sort+a+list&mode=hybrid&index=docs"
    page.click("[value=bm25] + span")
    page.wait("location.hash.includes('bm25')")
    page.wait("state.hits.length === 8")  # those of either word
    page.type("#query", " xyzzy")
    page.wait("document.title.includes('xyzzy')")


def test_nothing_found_and_back(page):
    page.click("[value=bm25] + span")
    page.type("#query", "xyzzy")
    page.wait("document.querySelector('#status').textContent.startsWith('Nothing found')")
    page.press("Escape")
    page.wait("document.querySelector('#status').textContent === '20 documents'")
    assert page.run("return document.querySelector('#query').value") == ""


def test_keys_and_documents_side_by_side(page):
    page.type("#query", "open a file")
    page.wait("state.hits.length > 2")
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("ArrowUp")
    assert page.run("return document.activeElement === document.querySelector('.hit')")
    page.press("Enter")
    page.press("ArrowDown")
    page.press("Enter")
    first, second = ids(page)[:2]
    assert first == "open-file"
    assert titles(page, "#open h2") == [first, second]
    left, right = page.run(
        "return [...document.querySelectorAll('#open article')].map((one) => one.getBoundingClientRect().x)"
    )
    assert left < right
    page.press("/")
    assert page.run("return document.activeElement.id") == "query"
    page.click("#open article button")
    assert titles(page, "#open h2") == [second]
    page.press("Escape")
    assert titles(page, "#open h2") == []


def test_filters_from_the_columns(page):
    page.click("#filters-button")
    columns = page.run(
        "return [...document.querySelectorAll('#filters [data-op]')].map((one) => one.dataset.column)"
    )
    assert columns == ["id", "verb", "length", "length"]
    page.type("#query", "list")
    page.type("[data-column=verb]", "op")
    page.wait("state.hits.length === 5")
    assert all(name.startswith("open-") for name in ids(page))
    page.type("[data-column=length][data-op='>=']", "6")
    page.wait("state.hits.length === 2")
    assert page.run("return document.querySelector('#filters-button').textContent") == "Filters (2)"
    page.type("[data-column=verb]", "' or true or \"%_\\")
    page.wait("document.querySelector('#status').textContent.startsWith('Nothing found')")


def test_light_and_dark(page):
    def brightness():
        found = page.run("return getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in found.removeprefix("rgb(").rstrip(")").split(","))

    assert brightness() > 600
    page.size(1280, 800, dark=True)
    assert brightness() < 200
    page.click("#theme")
    assert brightness() > 600
    page.run("localStorage.clear(); delete document.documentElement.dataset.theme")


def test_small_screens(page):
    page.size(360, 700)
    page.click("#filters-button")
    page.type("#query", "open a file")
    page.wait("state.hits.length > 2")
    page.press("ArrowDown")
    page.press("Enter")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    assert page.run(
        "return document.querySelector('#open').getBoundingClientRect().bottom <= innerHeight + 1"
    )


def test_an_address_brings_its_search_back(page, server):
    page.open("about:blank")
    page.open(f"{server.url}/#q=join+a+table&mode=vector&index=docs")
    page.wait("state.hits.length > 2")
    assert ids(page)[0] in ("sort-table", "open-table", "read-table", "write-table")
    assert page.run("return document.querySelector('[name=mode]:checked').value") == "vector"


def test_texts_are_never_markup(page):
    made = "new DOMParser && marked('<img src=x onerror=alert(1)> \\u{1F600}ab', [[30, 32]])"
    assert page.run(f"const [text, mark] = {made}; return text + '|' + mark.outerHTML") == (
        "<img src=x onerror=alert(1)> \U0001f600|<mark>ab</mark>"
    )


def test_a_key_is_asked_for(window, index_folder, tmp_path):
    with running(tmp_path / "log", index_folder, STATIM_API_KEY=KEY) as found:
        window.open(found.url)
        window.wait("!document.querySelector('#key-form').hidden")
        window.type("#key", "wrong")
        window.press("Enter")
        window.wait("document.querySelector('#status').textContent.includes('wrong')")
        window.run("document.querySelector('#key').value = ''")
        window.type("#key", KEY)
        window.press("Enter")
        window.wait("document.querySelector('#status').textContent === '20 documents'")
        window.errors()  # the browser notes the answers of status 401


def test_the_page_of_the_api(window, server):
    window.open(f"{server.url}/docs")
    window.wait("document.querySelectorAll('details').length > 10")
    assert "/v1/embeddings" in titles(window, "summary .path")
    assert window.errors() == []
