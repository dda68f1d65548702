"""What the demo tells at its end: a table, summary.json, and an HTML report with pictures."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Group
from rich.table import Table

if TYPE_CHECKING:
    from betting_assets.demo import Story

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
.note { color: #666; }
"""


def summarize(story: Story) -> dict[str, Any]:
    """Everything in plain values, as it goes to summary.json."""
    counts = story.counts
    return {
        "source": story.source,
        "matches": int(counts["matches"].sum()),
        "results": int(counts["results"].sum()),
        "books": int(counts["books"].sum()),
        "rejected": story.rejected,
        "leagues": sorted(counts["league"].unique().tolist()),
        "seasons": int(counts["season"].nunique()),
        "models": {market: _scores(story, market) for market in story.markets},
        "champions": {market: _champion(story, market) for market in story.markets},
        "service": story.answer,
        "predictions": json.loads(story.predictions.to_json(orient="records", date_format="iso")),
        "performance": _records(story, "monitor", "performance_report", "report"),
        "seconds": {**story.seconds, "total": round(sum(story.seconds.values()), 1)},
        "peak_memory_mb": story.peak_memory_mb,
    }


def console(summary: dict[str, Any]) -> Group:
    """The summary as tables for the terminal."""
    return Group(
        _facts(summary),
        *[_model_table(m, rows) for m, rows in summary["models"].items()],
        _predictions(summary),
        _times(summary),
    )


def write_html(summary: dict[str, Any], story: Story, path: Path) -> None:
    """One self-contained page: numbers, pictures, predictions."""
    models = "".join(
        f"<h2>Market {html.escape(m)}</h2>{_html_table(pd.DataFrame(r))}{_pictures(story, f'train {m}')}"
        for m, r in summary["models"].items()
    )
    facts = ", ".join(summary["leagues"])
    champions = pd.DataFrame([{"market": m, "champion": c} for m, c in summary["champions"].items()])
    times = pd.DataFrame([{"stage": k, "seconds": v} for k, v in summary["seconds"].items()])
    body = f"""<h1>From raw odds to a served, evaluated model</h1>
<p>{summary["matches"]:,} matches, {summary["books"]:,} books, leagues {html.escape(facts)},
{summary["seasons"]} seasons ({html.escape(summary["source"])}); {summary["rejected"]} rows rejected.</p>
{_html_table(champions)}
{models}
<h2>What the running service answered</h2>{_html_table(_prediction_frame(summary))}
<h2>Features</h2>{_pictures(story, "features")}
<h2>Time</h2>{_html_table(times)}
<p class="note">Paper only: no forecast here is advice to bet, and none is guaranteed.</p>"""
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title><style>{STYLE}</style>'
    page = f"{head}<body>{body}</body></html>"
    path.write_text(page)


def _scores(story: Story, market: str) -> list[dict[str, Any]]:
    return _records(story, f"train {market}", "model_evaluation", "scores")


def _records(story: Story, stage: str, asset: str, key: str) -> list[dict[str, Any]]:
    """A table in an asset's metadata as plain records."""
    outcome = story.outcomes.get(stage)
    found = outcome.metadata.get(asset, {}).get(key) if outcome else None
    return [] if found is None else [dict(record.data) for record in found.records]


def _champion(story: Story, market: str) -> str:
    if market in story.refused:
        return f"none: {story.refused[market]}"
    return str(story.outcomes[f"train {market}"].metadata["champion_model"]["model_version"])


def _facts(summary: dict[str, Any]) -> Table:
    table = Table(title="From raw odds to a served model", show_header=False)
    table.add_row("source", summary["source"])
    table.add_row(
        "matches", f"{summary['matches']:,} in {len(summary['leagues'])} leagues, {summary['seasons']} seasons"
    )
    table.add_row("leagues", ", ".join(summary["leagues"]))
    table.add_row("books", f"{summary['books']:,}")
    table.add_row("rows rejected", str(summary["rejected"]))
    for market, champion in summary["champions"].items():
        table.add_row(f"champion {market}", champion)
    for market, answer in summary["service"].items():
        line = f"{answer['matches']} matches in {answer['milliseconds']} ms from {answer['model']}"
        table.add_row(f"service answer {market}", line)
    table.add_row("peak memory", f"{summary['peak_memory_mb']:,} MB in one process")
    return table


def _model_table(market: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{market}: out of sample, walk-forward (negative difference: better than the market)")
    for name in ("model", "n", "log-loss", "RPS", "ECE", "log-loss vs market", "95 % CI"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        interval = "" if row["vs_market_lo"] is None else f"[{row['vs_market_lo']:+.4f}, {row['vs_market_hi']:+.4f}]"
        mean = "" if row["vs_market_mean"] is None else f"{row['vs_market_mean']:+.4f}"
        table.add_row(
            row["model"], f"{row['n']:,}", *(f"{row[k]:.4f}" for k in ("log_loss", "rps", "ece")), mean, interval
        )
    return table


def _prediction_frame(summary: dict[str, Any]) -> pd.DataFrame:
    rows = [
        {
            "match": f"{one['home']} – {one['away']}",
            "league": one["league"],
            "date": str(one["match_date"])[:10],
            "market": one["market"],
            **{name: round(p, 3) for name, p in one["probabilities"].items()},
        }
        for one in summary["predictions"]
    ]
    return pd.DataFrame(rows)


def _predictions(summary: dict[str, Any], most: int = 8) -> Table:
    table = Table(title="Upcoming matches, as the running service answered")
    for name in ("match", "league", "date", "market", "probabilities"):
        table.add_column(name)
    for one in summary["predictions"][:most]:
        text = "  ".join(f"{name} {p:.3f}" for name, p in one["probabilities"].items())
        table.add_row(f"{one['home']} – {one['away']}", one["league"], str(one["match_date"])[:10], one["market"], text)
    return table


def _times(summary: dict[str, Any]) -> Table:
    table = Table(title="Time")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for stage, seconds in summary["seconds"].items():
        table.add_row(stage, f"{seconds:.1f}")
    return table


def _html_table(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, border=0, na_rep="", float_format=lambda x: f"{x:.4f}")


def _pictures(story: Story, stage: str) -> str:
    """The pictures that the assets of a stage attached as metadata."""
    outcome = story.outcomes.get(stage)
    texts = [
        v
        for metadata in (outcome.metadata.values() if outcome else [])
        for v in metadata.values()
        if isinstance(v, str)
    ]
    sources = [found for text in texts for found in re.findall(r"\((data:image/png;base64,[A-Za-z0-9+/=]+)\)", text)]
    return "".join(f'<p><img src="{source}" alt=""></p>' for source in sources)
