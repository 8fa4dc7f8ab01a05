"""Every command and every line of Python in docs/search.md does what it says."""

from pathlib import Path

from doc_pages import DOCS, run_page

ADDRESS = "postgresql://user@host/database"


def test_the_page(model, address, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    model.save("model")
    page = tmp_path / "search.md"
    text = (DOCS / "search.md").read_text(encoding="utf-8")
    assert text.count(f"={ADDRESS}\n") == 1
    page.write_text(text.replace(f"={ADDRESS}\n", f"={address}\n"), encoding="utf-8")
    ran = run_page(page, monkeypatch, capfd)
    assert len(ran.commands) == 26
    assert ran.printed[0].startswith("set ")
    assert Path("answers.trec").read_text().startswith("q1 Q0 ")
