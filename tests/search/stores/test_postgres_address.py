"""Addresses of a real database: a password in one is shown nowhere, and the environment may name the
database.
"""

import logging
import os
import sys

import psycopg
import pytest
from store_places import model_of, texts_of

from statim.cli import main
from statim.search.index import Index

SECRET = "Tr0ub4dor"


@pytest.fixture
def secret_address(address):
    """The server asks for no password, so any is right."""
    assert "postgres:@" in address
    return address.replace("postgres:@", f"postgres:{SECRET}@")


def run(monkeypatch, capfd, *arguments):
    monkeypatch.setattr(sys, "argv", ["statim", *map(str, arguments)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as caught:
        main()
    return (caught.value.code, *capfd.readouterr())


def test_a_password_is_shown_nowhere(secret_address, tmp_path, monkeypatch, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    model_of(1).save(tmp_path / "model")
    (tmp_path / "docs.txt").write_text("\n".join(texts_of(20)))
    build = (
        "index",
        "build",
        tmp_path / "model",
        tmp_path / "docs.txt",
        "--store",
        secret_address,
        "--table",
        "secret",
    )
    for arguments, code in (
        (build, 0),
        (build, 2),  # it exists
        ((*build, "--overwrite", "--json"), 0),
        (("search", secret_address, "w01", "--table", "secret", "--json"), 0),
        (("search", secret_address, "w01", "--table", "nothing"), 2),
        (("index", "info", secret_address, "--table", "secret", "--json"), 0),
        (("index", "info", secret_address, "--table", "secret"), 0),
        (("index", "add", secret_address, tmp_path / "docs.txt", "--table", "secret"), 2),
        (("index", "compact", secret_address), 2),
        (("index", "delete", secret_address, "0", "--table", "secret"), 0),
    ):  # fmt: skip
        found, out, err = run(monkeypatch, capfd, *arguments)
        assert found == code, (arguments, err)
        assert SECRET not in out + err
        assert err.count("can see a password in a command") == 1
    index = Index.load(secret_address, table="secret")
    shown = [
        repr(index),
        str(index.path),
        str(index.info()),
        str(dict(index._store.manifest)),
        repr(index._store),
    ]
    assert not any(SECRET in text for text in [*shown, caplog.text])
    with psycopg.connect(secret_address) as connection:
        held = connection.execute(
            "SELECT content FROM secret_statim WHERE name NOT LIKE '%.safetensors'"
        ).fetchall()
    assert len(held) > 4
    assert not any(SECRET.encode() in content for (content,) in held)


def test_the_environment_names_the_database(address, tmp_path, monkeypatch, capfd):
    index = Index.build(model_of(1), texts_of(20), address, table="environment")
    path = str(index.path)
    host = address.partition("host=")[2]
    (tmp_path / "service.conf").write_text(f"[ours]\nhost={host}\nuser=postgres\ndbname=postgres\n")
    for name in ("PGHOST", "PGUSER", "PGDATABASE", "PGSERVICE", "STATIM_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    ways = [
        ({"STATIM_DATABASE": address}, "postgresql:"),
        ({"PGHOST": host, "PGUSER": "postgres", "PGDATABASE": "postgres"}, "postgresql:"),
        ({"PGSERVICE": "ours", "PGSERVICEFILE": str(tmp_path / "service.conf")}, "postgresql:"),
        ({"PGSERVICEFILE": str(tmp_path / "service.conf")}, "postgresql://?service=ours"),
    ]
    for variables, given in ways:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            assert str(Index.load(given, table="environment").path) == path
            code, out, err = run(monkeypatch, capfd, "search", given, "w01", "--table", "environment")
            assert (code, err) == (0, ""), err
            assert out
    assert "STATIM_DATABASE" not in os.environ
