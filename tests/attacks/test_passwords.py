"""Addresses of databases with a password, whole, broken or in a wrong place: no part of the password is
printed or written.
"""

import logging
import traceback

import pytest
import typer

from statim import addresses, cli
from statim.errors import InputError, StatimError
from statim.model import StaticModel
from statim.search.index import Index
from statim.teacher.teacher import Teacher

SECRETS = ("Tr0ub4dor", "c0rrecthorse")
SPECIAL = ["", "%", "%zz", "%40", "%2F", "%3a", "%00", "@", "@@", "/", "//", ":", "?", "#", " ", "[", "]",
    "&", "=", "\\", "'", '"', "é",
           "\n", "\t", "$", ";", ",", "?host=", "@[", "{0}", "|", "%25"]  # fmt: skip
ODD = [
    "postgres://user:<P>@127.0.0.1:1/db",
    "POSTGRESQL://user:<P>@127.0.0.1:1/db",
    "Postgres://user:<P>@127.0.0.1:1/db",
    "postgresql+psycopg://user:<P>@127.0.0.1:1/db",
    "postgresql:/user:<P>@127.0.0.1:1/db",
    "postgresql:user:<P>@127.0.0.1:1/db",
    " postgresql://user:<P>@127.0.0.1:1/db",
    "postgresql://user:<P>@[::1/db",
    "postgresql://user:<P>@::1]/db",
    "postgresql://user:<P>@127.0.0.1:port/db",
    "postgresql://user:<P>@127.0.0.1:1:2/db",
    "postgresql://user:<P>@127.0.0.1:99999999/db",
    "postgresql://user:<P>@127.0.0.1:1,127.0.0.1:1/db",
    "postgresql://user:<P>@127.0.0.1:1/db?sslmode=evil",
    "postgresql://user:<P>@127.0.0.1:1/db?evil=1",
    "postgresql://user:<P>@127.0.0.1:1/db?sslmode",
    "postgresql://user:<P>@/db?host=/nowhere&port=1",
    "postgresql://user:<P>@127.0.0.1:1/db?service=nowhere",
    "postgresql://127.0.0.1:1/db?user=user&password=<P>",
    "postgresql://127.0.0.1:1/db?password=<P>&evil=1",
    "postgresql://127.0.0.1:1/db?password=<P>%zz",
    "postgresql://127.0.0.1:1/db?password=<P>@x",
    "postgresql://:<P>@127.0.0.1:1/db",
    "postgresql://user%3A<P>@127.0.0.1:1/db",
    "postgresql://us er:<P>@127.0.0.1:1/db",
    "postgresql://user@server:<P>@127.0.0.1:1/db",
    "postgresql://user:<P>",
    "postgresql://user:<P>/db",
    "postgresql://user:<P>%40127.0.0.1:1/db",
    "postgresql://user:<P>@127.0.0.1:1/db/more",
    "postgresql:///user:<P>@127.0.0.1:1/db",
    "host=127.0.0.1 port=1 user=user password=<P>",
    "password = <P>",
    "mysql://user:<P>@127.0.0.1:1/db",
    "https://user:<P>@127.0.0.1:1/model",
]
ADDRESSES = [f"postgresql://user:{SECRETS[0]}{c}{SECRETS[1]}@127.0.0.1:1/db" for c in SPECIAL]
ADDRESSES += [address.replace("<P>", SECRETS[0]) for address in ODD]


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """The parser of the command line is made once, not at every call."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(cli.app, typer.Typer):
            cli.train.add_options()
            patch.setattr(cli, "app", typer.main.get_command(cli.app))
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def assert_hidden(*texts):
    for text in texts:
        assert not [secret for secret in SECRETS if secret in text], text


def test_there_are_enough():
    assert len(set(ADDRESSES)) > 60
    assert all(SECRETS[0] in address and addresses.looks_like_one(address) for address in ADDRESSES)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_command_line(address, model, tmp_path, statim):
    (tmp_path / "docs.txt").write_text("how to sort\n")
    docs, before = tmp_path / "docs.txt", sorted(tmp_path.rglob("*"))
    always = [("search", address, "sort"), ("index", "build", model, docs, "--out", address)]
    some = [
        ("index", "info", address, "--json"),
        ("index", "build", model, docs, "--store", address),
        ("encode", model, docs, "--out", address),
        ("info", model, address),
        ("index", "delete", address, "a"),
        ("index", "add", address, docs),
        ("index", "build", model, docs, f"--store={address}", "--engine", "exact"),
        ("index", "build", address, docs, "--out", "new"),
        ("index", "build", model, address, "--out", "new"),
        ("index", "build", model, docs, "--out", "new", "--vectors", address),
        ("index", "build", model, docs, "--out", "new", "--engine", address),
        ("index", "build", model, docs, "--out", "new", "--documents-by", address),
        ("index", "build", model, docs, "--store", "postgresql://127.0.0.1:1/db", "--table", address),
        ("index", "build", model, docs, "--out", "new", "--threads", address),
        ("encode", model, address, "--out", "v.npy"),
        ("quantize", model, "--out", address),
        ("train", docs, "--out", address),
        ("train", "--resume", address),
        ("duplicates", docs, "--model", model, "--out", address),
        ("info", address),
        ("nothing", address),
    ]
    for arguments in [*always, *some[ADDRESSES.index(address) % 7 :: 7]]:
        code, out, err = statim(*arguments)
        assert code == 2, arguments
        assert err.count("error: ") == 1, (arguments, err)
        assert_hidden(out, err)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_library(address, static_model, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    before = sorted(tmp_path.rglob("*"))
    for function in (
        Index.load,
        StaticModel.load,
        Teacher.load,
        static_model.save,
        lambda given: Index.build(static_model, ["how to sort"], given),
        lambda given: Index.build(static_model, ["how to sort"], tmp_path / "new", store=given),
        lambda given: Index.build(static_model, ["how to sort"], given, store=given),
    ):
        with pytest.raises(StatimError) as caught:
            function(address)
        error = caught.value
        while error is not None:
            assert_hidden(str(error), repr(error), "".join(traceback.format_exception_only(error)))
            error = error.__cause__ or error.__context__
    assert_hidden(caplog.text)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://user:x@host:5432/db", "postgresql://host:5432/db"),
        ("postgres://user@host/db?sslmode=require&service=a", "postgres://host/db?service=a"),
        ("postgresql://user%40server:p%40x@host/db", "postgresql://host/db"),
        ("postgresql:///db?host=/tmp/x&password=x", "postgresql:///db?host=/tmp/x"),
        ("postgresql://u:x@[::1]:5432,b:1/db", "postgresql://[::1]:5432,b:1/db"),
        ("postgresql://?service=manual", "postgresql://?service=manual"),
        ("postgresql://", "postgresql://"),
        ("postgresql://u:a@b@host/db", "postgresql://…"),
    ],
)
def test_what_is_said(address, said):
    assert addresses.said(address) == said


@pytest.mark.parametrize(
    "path",
    [
        "a.npy",
        "C:/a@b",
        "s3://bucket/a@b",
        "postgres",
        "postgresql/a",
        "my password.txt",
        "a=b",
        "./postgresql:x",
    ],
)
def test_a_path_is_no_address(path):
    assert not addresses.looks_like_one(path)


def test_the_environment_names_the_database(monkeypatch):
    monkeypatch.delenv(addresses.VARIABLE, raising=False)
    assert addresses.whole("postgresql:") == "postgresql://"
    monkeypatch.setenv(addresses.VARIABLE, "postgresql://user:x@host/db")
    assert addresses.whole("postgresql:") == "postgresql://user:x@host/db"
    assert addresses.whole("postgresql://other/db") == "postgresql://other/db"
    for wrong in (f"user:{SECRETS[0]}@host/db", f"postgresql://u:{SECRETS[0]}@x@host/db"):
        monkeypatch.setenv(addresses.VARIABLE, wrong)
        with pytest.raises(InputError, match=addresses.VARIABLE) as caught:
            Index.load("postgresql:")
        assert_hidden(str(caught.value))
