"""Documents by their ids, from every store."""


def test_get(place, model):
    rows = [{"id": f"é'{n}", "text": f"text {n}", "n": n} for n in range(20)]
    index = place.build(model, rows)
    asked = ["é'3", "missing", "é'1", "é'3", "'; --", "nul\0"]
    assert index.get(asked) == [rows[3], rows[1]]
    assert index.get("é'7") == [rows[7]]
    assert index.get([]) == []
    index.delete(["é'3"])
    index.update([{**rows[1], "text": "changed"}])
    assert index.get(asked) == [{**rows[1], "text": "changed"}]
    assert index.analyzer.terms("Texts of é") == place.load().analyzer.terms("Texts of é")
