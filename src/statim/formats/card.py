"""README.md, the model card: a short honest default, and the two facts that are read from a card."""

import json
import re
from pathlib import Path

from statim.settings import Settings

LIMIT = 1 << 20  # characters of a card that are looked at
TAGS = ("sentence-transformers", "model2vec", "statim", "embeddings", "static-embeddings")

_TEXT = """\
# A static embedding model

{tokens:,} tokens, {dim:,} dimensions. A text's vector is the mean of its tokens' vectors{length}:
no network runs, and word order does not count. Saved by statim {version};
its quality has not been measured here.

## Use

Three libraries load this folder and give the same vectors{but}.

```python
from statim import StaticModel

model = StaticModel.load("path/to/this/folder")
vectors = model.encode(["how do I sort a list?", "sort items in place"])
```

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
```

```python
from model2vec import StaticModel

model = StaticModel.from_pretrained("path/to/this/folder")
```
"""


def front_matter(settings: Settings) -> str:
    """The YAML head of a card, from ``---`` to ``---``."""
    lines = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity", "tags:"]
    lines += [f"- {tag}" for tag in TAGS]
    if settings.language:
        # a JSON string is a YAML string
        lines += ["language:", *(f"- {json.dumps(code)}" for code in settings.language)]
    if settings.base_model:
        lines.append(f"base_model: {json.dumps(settings.base_model)}")
    return "\n".join([*lines, "---", ""])


def default(settings: Settings, *, tokens: int, dim: int, version: str, but: str = "") -> str:
    """A card that says only what is known; ``but`` names what differs between the libraries."""
    text = _TEXT.format(
        tokens=tokens,
        dim=dim,
        version=version,
        length=", scaled to length 1" if settings.normalize else "",
        but=f" ({but})" if but else "",
    )
    return f"{front_matter(settings)}\n{text}"


def facts(folder: Path) -> tuple[str | None, tuple[str, ...]]:
    """The base model and the languages that the head of a folder's card names, where it has one.

    Only the plain forms that model cards use are understood (``key: value``, ``key: [a, b]`` and one ``-
    value`` a line).
    """
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            text = file.read(LIMIT)
    except OSError:
        return None, ()
    head = re.match(r"\s*---\r?\n(.*?)\n---", text, re.DOTALL)
    if head is None:
        return None, ()
    values: dict[str, list[str]] = {}
    key = ""
    for line in head[1].splitlines():
        if pair := re.match(r"(\w+):(.*)", line):
            key, value = pair[1], pair[2].strip()
            values[key] = [_plain(item) for item in value.strip("[]").split(",")] if value else []
        elif item := re.match(r"\s*- (.*)", line):
            values.setdefault(key, []).append(_plain(item[1]))
    base = next(iter(values.get("base_model", [])), "")
    languages = tuple(code for code in values.get("language", []) if re.fullmatch(r"[A-Za-z-]{2,20}", code))
    return (base if base not in ("", "unknown", "null", "~") else None), languages


def _plain(value: str) -> str:
    return value.strip().strip("\"'")
