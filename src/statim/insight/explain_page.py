"""An explanation as one HTML page that needs no network: both texts with coloured tokens, and the pairs."""

import html
from collections.abc import Sequence

from statim.insight.contributions import Explanation, Token, marked
from statim.insight.hits import HitExplanation

PAIRS = 30

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #222; --faint: #666; --grid: #ddd;
  --plus: 0, 114, 178; --minus: 213, 94, 0; }
@media (prefers-color-scheme: dark) { :root { --ground: #16181c; --text: #e6e6e6; --faint: #a5a5a5;
  --grid: #34383f; --plus: 86, 180, 233; --minus: 230, 159, 0; } }
body { background: var(--ground); color: var(--text); font: 16px/1.7 system-ui, sans-serif; max-width: 860px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; color: var(--faint); margin: 1.6rem 0 .2rem; }
p.text { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
mark { color: inherit; border-radius: .2em; padding: .05em 0; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .15rem .6rem .15rem 0;
  border-bottom: 1px solid var(--grid); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; height: .7em; border-radius: .15em; }
.note { color: var(--faint); font-size: .9rem; }
"""


def page(found: Explanation | HitExplanation) -> str:
    """The page.

    Args:
        found: What ``explain`` or ``explain_hit`` gave.

    Returns:
        HTML.
    """
    if isinstance(found, Explanation):
        title, body = (
            f"Cosine {found.score:.3f}",
            _texts(found, ("First text", "Second text"), ("first", "second")),
        )
    else:
        columns = ("query", "document")
        title = f"Document {found.hit.id}: cosine {found.vector.score:.3f}, BM25 {found.bm25:.2f}"
        body = _texts(found.vector, ("Query", f"Document {found.hit.id}"), columns)
        body += _table("Words of BM25", ("word",), [((w.word,), w.contribution) for w in found.words])
        if found.against is not None:
            names = ("Query", f"Document {found.against.hit.id}")
            body += _texts(found.against.vector, names, columns)
            differences = [((token,), part) for token, part in found.contrast()]
            name = f"Why {found.hit.id} rather than {found.against.hit.id}, by tokens of the query"
            body += _table(name, ("token",), differences)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f'<body><h1>{html.escape(title)}</h1><p class="note">Blue tokens add to the score, orange ones '
        f"subtract from it; their parts sum to the cosine.</p>{body}</body></html>\n"
    )


def _texts(found: Explanation, names: tuple[str, str], columns: tuple[str, str]) -> str:
    """Both texts, each with its name, and their pairs of tokens in columns."""
    shown = zip(names, (found.a, found.b), (found.tokens_a, found.tokens_b), strict=True)
    parts = [f"<h2>{html.escape(n)}</h2>{_text(text, tokens)}" for n, text, tokens in shown]
    pairs = [((pair.a, pair.b), pair.contribution) for pair in found.pairs(PAIRS)]
    return "".join(parts) + _table("Strongest pairs of tokens", columns, pairs)


def _text(text: str, tokens: Sequence[Token]) -> str:
    """A text with each token's background as strong as what it adds, per occurrence."""
    parts = []
    for part, token, share in marked(text, tokens):
        shown = html.escape(part)
        if token is not None:
            colour = f"rgba(var(--{'plus' if share >= 0 else 'minus'}), {abs(share) * 0.75:.3f})"
            title = f"{html.escape(token.text)}: {token.contribution:+.4f}"
            shown = f'<mark style="background: {colour}" title="{title}">{shown}</mark>'
        parts.append(shown)
    return f'<p class="text">{"".join(parts)}</p>'


def _table(name: str, heads: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], float]]) -> str:
    if not rows:
        return ""
    most = max(abs(part) for _, part in rows) or 1.0
    lines = []
    for cells, part in rows:
        named = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        colour, width = "plus" if part >= 0 else "minus", 120 * abs(part) / most
        bar = f'<span class="bar" style="width: {width:.0f}px; background: rgb(var(--{colour}))"></span>'
        lines.append(f'<tr>{named}<td class="n">{part:+.4f}</td><td>{bar}</td></tr>')
    head = "".join(f"<th>{html.escape(one)}</th>" for one in heads)
    return (
        f'<h2>{html.escape(name)}</h2><table><tr>{head}<th class="n">adds</th><th></th></tr>'
        f"{''.join(lines)}</table>"
    )
