"""Verbs on files as people have them: a help desk's export, folders of documents."""

import csv
import json

import pytest

from made_texts import THINGS, VERBS

QUESTIONS = [(verb, thing) for verb in VERBS[:6] for thing in THINGS[:5]]


@pytest.fixture
def tickets(tmp_path):
    """An export of a help desk: semicolons, Windows-1252, line ends inside of fields, two texts."""
    path = tmp_path / "tickets.csv"
    with path.open("w", encoding="windows-1252", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow(["id", "agent", "date", "subject", "body"])
        for number, (verb, thing) in enumerate(QUESTIONS):
            agent = ("Müller", "Ann")[number % 2]
            body = f'Hello;\nhow do I "{verb}" a {thing}?'
            writer.writerow([f"T{number}", agent, f"2026-01-{number + 1:02}", f"{verb} {thing}", body])
    return path


AS = ["--encoding", "windows-1252"]


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("flags", [AS, [*AS, "--delimiter", ";"]])
def test_every_verb_reads_an_export(statim, model_folder, tickets, tmp_path, flags):
    code, _, err = statim("encode", model_folder, tickets, "-o", tmp_path / "v.jsonl", *flags)
    assert code == 0, err
    assert ("between semicolons" in err) == (flags is AS)
    assert len(rows(tmp_path / "v.jsonl")) == len(QUESTIONS)
    out = tmp_path / "out.jsonl"
    for verb in (["duplicates", "--write", "kept"], ["cluster", "-n", 2]):
        code, _, err = statim(*verb, tickets, "--model", model_folder, "-o", out, "--overwrite", *flags)
        assert (code, len(rows(out)) > 0) == (0, True), err
    code, _, err = statim("index", "build", model_folder, tickets, "-o", tmp_path / "ix", *flags)
    assert code == 0, err
    code, out, _ = statim("search", tmp_path / "ix", "how do I", "--json", "-k", 1)
    assert json.loads(out)["hits"][0]["metadata"]["agent"] in ("Müller", "Ann")


def test_without_the_encoding_it_says_what_to_do(statim, model_folder, tickets):
    code, _, err = statim("encode", model_folder, tickets)
    assert code == 2
    assert "line 2: not UTF-8" in err
    assert "--encoding" in err


def test_the_standard_input_has_neither(statim, model_folder):
    for flag, value in (("--delimiter", ";"), ("--encoding", "latin-1")):
        code, _, err = statim("encode", model_folder, "-", flag, value)
        assert (code, "are of files" in err) == (2, True)
