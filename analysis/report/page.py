"""Pieces of the report's page: verdict table, tables, figures, style. Everything is text; nothing is read or drawn."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.report.sections import short

WORDS = {"pass": "✓ pass", "fail": "✗ fail", "not tested": "– not tested"}
STYLE = """
:root{--ink:#1c2430;--soft:#5b6673;--line:#d9dee4;--ground:#f5f7f9;--good:#006b4e;--bad:#a33b00;--none:#5b6673}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;color:var(--ink);max-width:1100px;margin:0 auto;
padding:1.5rem 20px 4rem}
h1{font-size:1.7rem;line-height:1.25;margin:.2rem 0 .6rem}
h2{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-top:.5rem;border-top:2px solid var(--line)}
h3{font-size:1.02rem;margin:1.2rem 0 .3rem}
a{color:#005a94}p{margin:.5rem 0;max-width:75em}
nav{background:var(--ground);border:1px solid var(--line);border-radius:6px;padding:.6rem 1rem;font-size:.9rem}
nav ol{columns:3;margin:.2rem 0;padding-left:1.6rem}nav li{break-inside:avoid}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.3rem .55rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:600;border-bottom:2px solid var(--soft)}
td.n,th.n{text-align:right;white-space:nowrap}
table.verdicts td:nth-child(1){width:21%}table.verdicts td:nth-child(2){width:13%}
table.verdicts td:nth-child(6){width:26%}
tr.control td{color:var(--soft);font-size:.84rem;padding-top:.12rem;padding-bottom:.12rem;border-bottom-style:dotted}
tr.control td:first-child{padding-left:1.6rem}
.v{font-weight:600;white-space:nowrap;border-radius:4px;padding:.05rem .45rem;border:1px solid currentColor}
.v-pass{color:var(--good);background:#e4f5ee}.v-fail{color:var(--bad);background:#fdeee5}
.v-not{color:var(--none);background:#eef1f4}
.warn{color:#7a4b00;background:#fff3d6;border:1px solid #e0b84d;border-radius:4px;padding:.05rem .4rem}
figure{margin:1.1rem 0 1.6rem;break-inside:avoid}
figure img{display:block;max-width:100%;height:auto;border:1px solid var(--line);background:#fff}
figcaption{font-size:.9rem;color:var(--ink);margin-top:.4rem;max-width:75em}
figcaption .more{color:var(--soft)}
.movie{image-rendering:pixelated;max-width:100%}
.missing{background:var(--ground);border-left:4px solid var(--none);padding:.4rem .8rem}
pre{background:var(--ground);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;overflow-x:auto;
font-size:.82rem;white-space:pre-wrap;overflow-wrap:anywhere}
details{margin:.5rem 0}summary{cursor:pointer;color:#005a94}
.wide{overflow-x:auto}.wide table{width:auto}
@media print{body{max-width:none;padding:0;font-size:11px}nav,summary{display:none}
h2{break-after:avoid}tr{break-inside:avoid}a{color:inherit;text-decoration:none}}
"""


def escape(value: Any) -> str:
    """Text that HTML shows as it is."""
    return html.escape(str(value))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def verdict(word: str, of_control: bool = False) -> str:
    """A verdict as a coloured word with its sign; a control that fails is as it should be, and stays grey."""
    kind = "not" if of_control and word == "fail" else word.split()[0]
    return f'<span class="v v-{kind}">{escape(WORDS.get(word, word))}</span>'


def found(row: Mapping[str, Any], unit: str) -> str:
    """What a check found, with its 95 % interval and unit."""
    if row.get("found") is None or short(row["found"]) == "–":
        return "–"
    interval = f" [{short(row.get('low'))}, {short(row.get('high'))}]"
    return short(row["found"]) + (interval if "–" not in interval else "") + f" {unit}"


def controls_that_pass(row: Mapping[str, Any]) -> list[str]:
    """Controls in which a check passes as it does in the model, so that it does not speak for the model's dynamics."""
    if row["verdict"] != "pass":
        return []
    return [name for name, entry in (row.get("controls") or {}).items() if entry["verdict"] == "pass"]


def verdict_table(checks: Sequence[Mapping[str, Any]]) -> str:
    """The verdict table: a row a check, below it a row for each of its controls."""
    head = ("check", "expected", "found [95 % interval]", "p", "verdict", "remark")
    cells = "".join(f"<th{_class('n') if name in ('found [95 % interval]', 'p') else ''}>{name}</th>" for name in head)
    rows = []
    for row in checks:
        same = controls_that_pass(row)
        remark = escape(row.get("reason") or "")
        if same:
            remark += (
                f'<span class="warn">passes in a control as well ({escape(", ".join(map(plain, same)))}): it does '
            )
            remark += "not speak for the model's dynamics</span>"
        rows.append(_check_row(row["name"], row["expected"], row, row["unit"], remark, ""))
        for name, entry in (row.get("controls") or {}).items():
            unit = entry.get("unit") or row["unit"]
            rows.append(
                _check_row(f"control: {plain(name)}", "", entry, unit, escape(entry.get("reason") or ""), "control")
            )
    return f'<table class="verdicts"><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _check_row(name: str, expected: str, row: Mapping[str, Any], unit: str, remark: str, kind: str) -> str:
    numbers = f'<td class="n">{escape(found(row, unit))}</td><td class="n">{short(row.get("p_value"), 2)}</td>'
    return (
        f"<tr{_class(kind)}><td>{escape(name)}</td><td>{escape(expected)}</td>{numbers}"
        f"<td>{verdict(row['verdict'], kind == 'control')}</td><td>{remark}</td></tr>"
    )


def plain(name: str) -> str:
    """A name of a file or a field as words."""
    return name.replace("_", " ")


def figure(
    picture: str, svg: str, alt: str, caption: str, cortex: str = "", numbers: Sequence[str] = (), width: int = 0
) -> str:
    """A figure with its caption.

    Args:
        picture: source of the image.
        svg: link to the figure as SVG, or empty.
        alt: what the image is, for those who cannot see it.
        caption, cortex, numbers: what it shows, what cortex would look like, and what was found here.
        width: screen pixels, or 0 for the image's own.
    """
    parts = [escape(caption)]
    if cortex:
        parts.append(f"<b>Cortex:</b> {escape(cortex)}")
    if numbers:
        parts.append(f"<b>Here:</b> {escape('; '.join(numbers))}.")
    if svg:
        parts.append(f'<a class="more" href="{escape(svg)}">SVG</a>')
    kind = _class("movie") if picture.startswith("data:image/gif") else ""
    size = f' width="{width}"' if width else ""
    image = f'<img{kind}{size} src="{picture}" alt="{escape(alt)}">'
    return f"<figure>{image}<figcaption>{' '.join(parts)}</figcaption></figure>"


def table(frame: pd.DataFrame) -> str:
    """A data frame as a table, numbers rounded."""
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    head = "".join(
        f"<th{_class('n' if n else '')}>{escape(c)}</th>" for c, n in zip(frame.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_class('n' if n else '')}>{short(v, 4) if n else escape(v)}</td>"
            for v, n in zip(row, numeric, strict=True)
        )
        + "</tr>"
        for row in frame.itertuples(index=False)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def page(title: str, lead: str, sections: Sequence[tuple[str, str]]) -> str:
    """The whole page: title, leading paragraphs, contents, and sections (heading, body)."""
    names = [f"s{number}" for number in range(len(sections))]
    contents = "".join(
        f'<li><a href="#{name}">{escape(head)}</a></li>' for name, (head, _) in zip(names, sections, strict=True)
    )
    body = "".join(
        f'<section id="{name}"><h2>{escape(head)}</h2>{content}</section>'
        for name, (head, content) in zip(names, sections, strict=True)
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>{lead}<nav><ol>{contents}</ol></nav>{body}"
        "</body></html>\n"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
