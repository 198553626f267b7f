"""What every page of a report is made of: one style sheet, and the few pieces of HTML."""

import base64
import html
from collections.abc import Iterable, Sequence

CSS = """
:root { --ink:#1b2733; --soft:#5b6b7a; --line:#d9e0e7; --panel:#f5f7fa; --good:#0b6fb8; --bad:#b3420a; }
* { box-sizing:border-box }
html { -webkit-text-size-adjust:100% }
body { margin:0; color:var(--ink); background:#fff; font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
  "Helvetica Neue",Arial,"Liberation Sans",sans-serif; font-variant-numeric:tabular-nums }
main { max-width:1120px; margin:0 auto; padding:32px 28px 64px }
h1 { font-size:27px; line-height:1.25; margin:0 0 4px; overflow-wrap:anywhere }
h2 { font-size:20px; margin:48px 0 12px; padding-top:14px; border-top:2px solid var(--ink) }
h3 { font-size:16px; margin:24px 0 8px }
p { margin:0 0 10px; max-width:78ch }
a { color:var(--good) }
.sub { color:var(--soft); margin-bottom:22px; overflow-wrap:anywhere }
.verdict { background:var(--panel); border:1px solid var(--line); border-left:7px solid var(--good); border-radius:6px;
  padding:22px 26px 16px }
.verdict .head { font-size:23px; line-height:1.3; font-weight:650; margin:0 0 14px; max-width:none }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(190px,1fr)); gap:12px; margin:0 0 16px }
.tile { background:#fff; border:1px solid var(--line); border-radius:6px; padding:12px 16px }
.tile b { display:block; font-size:27px; line-height:1.2; font-weight:650 }
.tile span { display:block; font-size:13.5px; color:var(--soft) }
.caution { background:#fff6e8; border:1px solid #f0cf9a; border-left:7px solid #d98a1f; border-radius:6px;
  padding:12px 22px; margin:14px 0 0 }
.caution ul { margin:0; padding-left:18px }
.charts { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(430px,100%),1fr)); gap:26px 28px;
  margin-top:18px }
figure { margin:0; break-inside:avoid }
figure img { width:100%; height:auto; display:block }
figcaption { font-size:14px; color:var(--soft); margin-top:4px }
figure h3 { margin:0 0 6px }
.scroll { overflow-x:auto }
table { border-collapse:collapse; width:100%; font-size:14.5px; margin:6px 0 14px }
th,td { text-align:left; padding:6px 14px 6px 0; border-bottom:1px solid var(--line); vertical-align:top }
th { font-weight:600; border-bottom-color:var(--soft) }
td.number,th.number { text-align:right; white-space:nowrap }
td:first-child { min-width:150px }
tr { break-inside:avoid }
.bar { display:block; width:150px; height:16px }
.mistakes { display:grid; grid-template-columns:repeat(auto-fill,minmax(250px,1fr)); gap:18px }
.mistakes figure { border:1px solid var(--line); border-radius:6px; overflow:hidden }
.mistakes .missed { border-top:6px solid #b3420a } .mistakes .false { border-top:6px solid #0b6fb8 }
.mistakes .wrong { border-top:6px solid #5b4b8a }
.mistakes figcaption { padding:6px 10px 8px; overflow-wrap:anywhere; color:var(--ink) }
.review figure { margin:0 0 22px; border:1px solid var(--line); border-radius:6px; overflow:hidden }
.review figcaption { padding:5px 10px 7px; overflow-wrap:anywhere }
.sheet { margin:0 0 18px; border:1px solid var(--line); border-radius:6px; overflow:hidden }
.sheet figcaption { padding:5px 10px 7px }
.scores .bar { width:112px; margin:1px 0 } .scores td { white-space:nowrap; padding-right:10px }
small { color:var(--soft); font-size:12.5px; font-weight:400 }
.spark { display:block; width:90px; height:24px }
.stamp { display:inline-block; white-space:nowrap; padding:1px 9px; border-radius:4px; font-weight:650; color:#fff;
  background:var(--bad) }
.stamp.good { background:#0a6b50 }
.doubt { border:3px solid var(--bad); border-radius:6px; padding:14px 22px 6px; margin:14px 0 }
.doubt b { display:block; font-size:23px; line-height:1.3; color:var(--bad) }
pre,code { font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace }
pre { background:var(--panel); border:1px solid var(--line); border-radius:6px; padding:12px 16px; overflow-x:auto;
  white-space:pre-wrap; overflow-wrap:anywhere }
details { margin:10px 0 } summary { cursor:pointer; font-weight:600 }
footer { margin-top:48px; padding-top:12px; border-top:1px solid var(--line); color:var(--soft); font-size:13.5px }
@media print { @page { size:A4; margin:14mm } body { font-size:10.5pt } main { max-width:none; padding:0 }
  h2 { break-after:avoid; margin-top:28px } .charts { grid-template-columns:1fr 1fr } .scroll { overflow:visible }
  .verdict,.caution,.tile,.stamp { print-color-adjust:exact; -webkit-print-color-adjust:exact } a { color:inherit } }
"""


def escape(text: object) -> str:
    """Text as HTML, quotes included."""
    return html.escape(str(text), quote=True)


def page(title: str, *parts: str) -> str:
    """A whole page that needs no other file and runs no script."""
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>"
    )
    return f"{head}<body><main>\n{chr(10).join(part for part in parts if part)}\n</main></body></html>\n"


def part(name: str, html_: str) -> str:
    """A part of a page that `replaced` can put another in place of."""
    return f"<!--{name}-->{html_}<!--/{name}-->"


def replaced(page_: str, name: str, html_: str) -> str:
    """The page with another part of this name; as it is where it has none."""
    start, mark, rest = page_.partition(f"<!--{name}-->")
    end = rest.partition(f"<!--/{name}-->")
    return f"{start}{part(name, html_)}{end[2]}" if mark and end[1] else page_


def paragraphs(texts: Iterable[str]) -> str:
    """One paragraph a text."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def tiles(cells: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers: what, value, and a line below."""
    each = (
        f'<div class="tile"><span>{escape(a)}</span><b>{escape(b)}</b><span>{escape(c)}</span></div>'
        for a, b, c in cells
    )
    return f'<div class="tiles">{"".join(each)}</div>'


def chart(title: str, svg: str, caption: str) -> str:
    """A chart with its title, and a caption that also tells those who can't see it what it shows."""
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    alt = escape(f"{title}. {caption}")
    below = f"<figcaption>{escape(caption)}</figcaption>"
    return f'<figure><h3>{escape(title)}</h3><img src="{source}" alt="{alt}">{below}</figure>'


def charts(figures: Iterable[str]) -> str:
    """Charts side by side."""
    return f'<div class="charts">{"".join(figures)}</div>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[int] = (),
    raw: Iterable[int] = (),
    below: Sequence[str] = (),
) -> str:
    """A table of texts; columns in `numbers` are aligned right, those in `raw` hold HTML already.

    `below` is said, smaller, below each title.
    """
    right, html_ = set(numbers), set(raw)

    def cell(tag: str, i: int, text: str) -> str:
        kind = ' class="number"' if i in right else ""
        return f"<{tag}{kind}>{text if i in html_ and tag == 'td' else escape(text)}</{tag}>"

    notes = [f"<br><small>{escape(note)}</small>" if note else "" for note in [*below, *[""] * len(head)]]
    top = "".join(cell("th", i, text).replace("</th>", f"{notes[i]}</th>") for i, text in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, text) for i, text in enumerate(row)) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>'


def caution(texts: Sequence[str]) -> str:
    """A box of what must be known before the figures are believed; nothing without texts."""
    if not texts:
        return ""
    return f'<div class="caution"><ul>{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul></div>'


def bar(value: float | None, low: float | None, high: float | None) -> str:
    """A share from 0 to 1 as a mark in its interval, on a line from 0 to 1."""
    if value is None:
        return ""

    def x(share: float) -> float:
        return round(3 + 144 * min(max(share, 0.0), 1.0), 1)

    shaded = ""
    if low is not None and high is not None:
        shaded = f'<rect x="{x(low) - 1}" y="2" width="{x(high) - x(low) + 2:.1f}" height="12" rx="2" fill="#7fb5de"/>'
    return (
        '<svg class="bar" viewBox="0 0 150 16" aria-hidden="true"><path d="M3 8H147" stroke="#c3ccd5"/>'
        f'{shaded}<path d="M{x(value)} 0V16" stroke="#1b2733" stroke-width="2.4"/></svg>'
    )


def spark(values: Sequence[float]) -> str:
    """A small line of numbers from -1 to 1, 0 dotted; nothing without numbers."""
    if not values:
        return ""
    step = 84 / max(len(values) - 1, 1)
    points = " ".join(f"{3 + i * step:.1f},{12 - 10 * value:.1f}" for i, value in enumerate(values))
    return (
        '<svg class="spark" viewBox="0 0 90 24" aria-hidden="true">'
        '<path d="M0 12H90" stroke="#c3ccd5" stroke-dasharray="2 3"/>'
        f'<polyline points="{points}" fill="none" stroke="#1b2733" stroke-width="1.8"/></svg>'
    )


def stamp(text: str, *, good: bool = False) -> str:
    """A few words that can't be overlooked."""
    return f'<span class="stamp{" good" if good else ""}">{escape(text)}</span>'


def doubt(head: str, *texts: str) -> str:
    """A box with what must not be believed, said large."""
    return f'<div class="doubt"><b>{escape(head)}</b>{paragraphs(texts)}</div>'
