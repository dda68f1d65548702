"""The demo's HTML report: one self-contained page with numbers and pictures, for someone who was not there."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from betting_assets.summary import settled_line

if TYPE_CHECKING:
    from betting_assets.demo import Story

STYLE = """
:root { --ink: #1c2733; --soft: #5b6876; --line: #dde3e9; --mark: #0b63a5; --ground: #f5f7f9; }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0; }
main { max-width: 980px; margin: 0 auto; padding: 2.5rem 1.5rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 0 0 .3rem; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 1.3rem 1.5rem;
  margin: 1.2rem 0; }
p { margin: .4rem 0; max-width: 46rem; }
.soft, figcaption, th { color: var(--soft); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.numbers div { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; }
.numbers b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; color: var(--mark); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { font-weight: 600; text-align: right; border-bottom: 2px solid var(--line); padding: .3rem .6rem; }
td { text-align: right; border-bottom: 1px solid var(--line); padding: .3rem .6rem; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.served td { font-weight: 600; background: #eaf3fb; }
figure { margin: 1.2rem 0 .4rem; }
img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: 13px; margin-top: .3rem; }
"""

CAPTIONS = {
    "against_the_market": "Mean log-loss minus the market's before the close on the same matches, with the 95 % "
    "interval of a bootstrap over dates. Left of zero is better than the market.",
    "reliability": "How often a selection happened, against how likely it was said to be. The shaded band is where a "
    "perfectly calibrated forecaster would stay at this number of matches.",
    "ratings_over_time": "Ratings of one league's teams, each as it was known before the match.",
    "overround": "The bookmakers' margin in the prices that the market probabilities come from.",
}
PNG = re.compile(r"\((data:image/png;base64,[A-Za-z0-9+/=]+)\)")


def write_html(summary: dict[str, Any], story: Story, path: Path) -> None:
    """Write the page; it needs no other file and asks nothing of any server."""
    sections = [
        *[_market(summary, story, market) for market in summary["models"]],
        _section("Features", _pictures(story, "features")),
        _upcoming(summary),
        _settled(summary),
        _loop(summary),
        _times(summary),
        _limits(summary),
    ]
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>From raw odds to a served model</title><style>{STYLE}</style></head>
<body><main>{_head(summary)}{"".join(sections)}</main></body></html>
"""
    path.write_text(page, encoding="utf-8")


def _head(summary: dict[str, Any]) -> str:
    leagues, simulated = ", ".join(summary["leagues"]), summary["source"] == "simulator"
    told = "simulated football with known true probabilities" if simulated else "football-data.co.uk files"
    numbers = {
        "matches": f"{summary['matches']:,}",
        "leagues × seasons": f"{len(summary['leagues'])} × {summary['seasons']}",
        "books of prices": f"{summary['books']:,}",
        "rows rejected": f"{summary['rejected']:,}",
        "predictions served": f"{len(summary['predictions']):,}",
        "seconds in all": f"{summary['seconds']['total']:.0f}",
    }
    tiles = "".join(f"<div><b>{value}</b>{escape(name)}</div>" for name, value in numbers.items())
    return f"""<h1>From raw odds to a served, evaluated model</h1>
<p class="soft">{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC · {escape(told)} · {escape(leagues)}</p>
<div class="numbers">{tiles}</div>"""


def _market(summary: dict[str, Any], story: Story, market: str) -> str:
    """One market: who serves, the models beside the market, and the pictures."""
    served = {one["variant"] for one in summary["predictions"] if one["market"] == market}
    rows = [
        [
            row["model"],
            f"{row['n']:,}",
            *[_number(row[key], ".4f") for key in ("log_loss", "rps", "brier", "ece")],
            _number(row["vs_market_mean"], "+.4f"),
            f"{_number(row['vs_market_lo'], '+.4f')} … {_number(row['vs_market_hi'], '+.4f')}",
        ]
        for row in summary["models"][market]
    ]
    header = ["model", "matches", "log-loss", "RPS", "Brier", "ECE", "vs market", "95 % interval"]
    marked = [number for number, row in enumerate(rows) if row[0] in served]
    champion = escape(summary["champions"][market])
    intro = (
        f"<p>Champion: <b>{champion}</b>. Every number is out of sample: a season is forecast by models that saw "
        "earlier matches only, and all forecasters are scored on the same matches. Lower is better; the last two "
        "columns compare the log-loss with the market before the close. Highlighted: what was served.</p>"
    )
    return _section(f"Market {market}", intro + _table(header, rows, marked) + _pictures(story, f"train {market}"))


def _upcoming(summary: dict[str, Any]) -> str:
    """One row a match, the probabilities of all served markets side by side."""
    matches: dict[str, dict[str, Any]] = {}
    for one in summary["predictions"]:
        matches.setdefault(one["match_id"], dict(one, chances={}))["chances"] |= one["probabilities"]
    selections = list(dict.fromkeys(name for one in matches.values() for name in one["chances"]))
    rows = [
        [
            f"{one['home']} – {one['away']}",
            one["league"],
            str(one["match_date"])[:10],
            *[_number(one["chances"].get(name), ".3f") for name in selections],
        ]
        for one in matches.values()
    ]
    answers = "; ".join(
        f"{market}: {answer['matches']} matches in {answer['milliseconds']:.0f} ms"
        for market, answer in summary["service"].items()
    )
    intro = f"<p>As the running service answered ({escape(answers)}).</p>"
    return _section("Upcoming matches", intro + _table(["match", "league", "date", *selections], rows))


def _settled(summary: dict[str, Any]) -> str:
    """What became of the served predictions."""
    lines = [f"<p><b>{escape(one['market'])}</b>: {escape(settled_line(one))}</p>" for one in summary["performance"]]
    lines += [
        f"<p><b>{escape(market)}</b>: served probabilities are {100 * distance:.1f} percentage points off the true "
        "ones on average; the truth is known because the world is simulated.</p>"
        for market, distance in summary["mean_distance_from_truth"].items()
    ]
    intro = "<p>The results were then revealed and the served predictions settled. One match day proves nothing.</p>"
    return _section("What became of the predictions", intro + "".join(lines)) if lines else ""


def _loop(summary: dict[str, Any]) -> str:
    """The timeline of the closed loop."""
    live = summary["live"]
    if not live:
        return ""
    rows = [[one["what"], f"{one['seconds']:.1f}", one["detail"]] for one in live["timeline"]]
    published = ", ".join(f"{n:,} {name}" for name, n in live["stored"].items())
    intro = (
        f"<p>Match days were played over Kafka ({escape(published)}). Before the last ones home advantage was taken "
        "away from the simulated world; what then happened, nobody asked for. Seconds count from that moment. "
        f"Meanwhile the service was asked {live['asked_meanwhile']:,} times, {live['failed_meanwhile']} failed.</p>"
    )
    return _section("The loop closes by itself", intro + _table(["what", "seconds", "detail"], rows))


def _times(summary: dict[str, Any]) -> str:
    rows = [[stage, f"{seconds:.1f}"] for stage, seconds in summary["seconds"].items()]
    memory = f"<p>Largest process: {summary['peak_memory_mb']:,} MB.</p>"
    return _section("Time by stage, in seconds", _table(["stage", "seconds"], rows) + memory)


def _limits(summary: dict[str, Any]) -> str:
    simulated = (
        "<p>The matches are simulated: they show that the machinery works, not how good it is on real football.</p>"
        if summary["source"] == "simulator"
        else ""
    )
    return _section(
        "Limits and responsible use",
        f"""{simulated}
<p>Where an interval contains zero, the data cannot tell the model from the market. A model that equals the market has
no edge: betting on it loses the bookmaker's margin. Past results do not promise future ones, and no model is promoted
on betting yield.</p>
<p>Nothing here is advice to bet. Bet only where it is legal for you, only if you are of age, and only what you can
afford to lose. If gambling stops being fun, talk to a help line in your country.</p>""",
    )


def _pictures(story: Story, stage: str) -> str:
    """The pictures that the assets of a stage attached as metadata, with captions."""
    outcome = story.outcomes.get(stage)
    entries = [entry for metadata in (outcome.metadata.values() if outcome else []) for entry in metadata.items()]
    return "".join(
        f'<figure><img src="{source}" alt="{escape(name.replace("_", " "))}">'
        f"<figcaption>{escape(CAPTIONS.get(name, ''))}</figcaption></figure>"
        for name, value in entries
        if isinstance(value, str)
        for source in PNG.findall(value)
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], marked: Sequence[int] = ()) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr{' class=served' if number in marked else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for number, row in enumerate(rows)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
