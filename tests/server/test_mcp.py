"""The official client of the Model Context Protocol against a real server, over stdio and over HTTP."""

import asyncio
import os
import shutil
import sys

import httpx
import pytest
from mcp import Client, StdioServerParameters
from running import ROOT, running

from statim import Index
from statim.cli import main


@pytest.fixture
def place(index_folder, tmp_path):
    return shutil.copytree(index_folder, tmp_path / "docs")


def over_stdio(place, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = ["-m", "statim", "mcp", str(place), *arguments]
    return StdioServerParameters(command=sys.executable, args=command, env=environment)


async def call(client, tool, **arguments):
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


async def refused(client, tool, **arguments):
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return answer.content[0].text


def test_stdio(place):
    async def run():
        async with Client(over_stdio(place)) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"search", "get", "similar"}
            assert tools["search"].annotations.read_only_hint
            assert set(tools["search"].input_schema["properties"]) == {"query", "k", "mode", "filter"}
            assert "20 documents. Columns: id (string), text (large_string), verb" in client.instructions
            found = await call(client, "search", query="sort a list", k=3, filter="verb != 'open'")
            expected = Index.load(place).search("sort a list", 3, where="verb != 'open'")
            assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in expected]
            assert found["hits"][0]["columns"] == {"verb": "sort", "length": 4}
            found = await call(client, "get", ids=["open-file", "missing"])
            assert found["documents"][0]["text"] == "how to open a file"
            assert found["missing"] == ["missing"]
            found = await call(client, "similar", id="sort-list", k=2)
            assert len(found["hits"]) == 2
            assert "sort-list" not in [hit["id"] for hit in found["hits"]]
            assert "the index has no document 'x'" in await refused(client, "similar", id="x")
            assert "which the documents do not have" in await refused(
                client, "search", query="a", filter="x = 1"
            )
            assert "k" in await refused(client, "search", query="a", k=0)
            assert "mode" in await refused(client, "search", query="a", mode="best")

    asyncio.run(run())


def test_add_where_it_is_allowed(place):
    async def run():
        async with Client(over_stdio(place, "--writable")) as client:
            new = {"id": "new", "text": "how to train a model", "verb": "train", "length": 5}
            assert await call(client, "add", documents=[new]) == {"added": 1, "documents": 21}
            assert "'new' is in the index already" in await refused(client, "add", documents=[new])
            await call(client, "add", documents=[{**new, "text": "how to load a model"}], replace=True)
            found = await call(client, "get", ids=["new"])
            assert found["documents"][0]["text"] == "how to load a model"

    asyncio.run(run())
    assert len(Index.load(place)) == 21


def test_http(place, tmp_path):
    async def run(url):
        async with Client(url) as client:
            found = await call(client, "search", query="sort a list", k=1)
            assert found["hits"][0]["id"] == "sort-list"

    with running(tmp_path / "log", place, "--http", verb="mcp") as server:
        assert server.url.endswith("/mcp")
        asyncio.run(run(server.url))
        for header, value in (("host", "evil.example"), ("origin", "http://evil.example")):
            assert httpx.post(server.url, json={}, headers={header: value}).status_code == 403
        assert server.stop() == 0
    with running(tmp_path / "log", place, "--http", verb="mcp", STATIM_API_KEY="key") as server:
        assert httpx.post(server.url, json={}).status_code == 401


def test_a_model_is_no_index(monkeypatch, capfd, model_folder):
    monkeypatch.setattr("sys.argv", ["statim", "mcp", str(model_folder)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "is a model; give an index" in capfd.readouterr().err
