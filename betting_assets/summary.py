"""What the demo tells at its end: tables for the terminal, and the same as plain values for summary.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table

from betting_assets.terminal import plain_table

if TYPE_CHECKING:
    from betting_assets.demo import Story

DETAIL_WIDTH = 40
MOST_SHOWN = 10
"""Upcoming matches of each market that the terminal shows; summary.json and the report have all."""


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
        "mean_distance_from_truth": story.truth_gap,
        "live": _live(story),
        "seconds": {**story.seconds, "total": round(sum(story.seconds.values()), 1)},
        "peak_memory_mb": story.peak_memory_mb,
    }


def console(summary: dict[str, Any]) -> Group:
    """The summary as tables for the terminal, each at most 100 columns wide."""
    return Group(
        _facts(summary),
        *[_model_table(market, rows) for market, rows in summary["models"].items()],
        *[_predictions(summary, market) for market in summary["service"]],
        *([_stream_facts(summary["live"]), _timeline(summary["live"])] if summary["live"] else []),
        _times(summary),
    )


def settled_line(one: dict[str, Any]) -> str:
    """One row of the performance report: what became of the served predictions of a market."""
    text = f"{one['n']} matches, log-loss {one['log_loss']:.4f}"
    if one["diff"] is not None:
        text += f", {one['diff']:+.4f} against the market"
    return f"{text} ({one['verdict']})"


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


def _live(story: Story) -> dict[str, Any]:
    """What the live chapter did; seconds count from the moment when the drift was planted."""
    live = story.live
    if live is None:
        return {}
    return {
        "published": dict(live.published),
        "stored": live.stored,
        "withheld": live.withheld,
        "asked_meanwhile": live.asked,
        "failed_meanwhile": live.failed,
        "failures": live.failures,
        "models_before": live.before,
        "models_after": live.after,
        "seconds_from_drift_to_live": round(live.live_at - live.planted_at, 1) if live.live_at else None,
        "failed_runs": live.failed_runs,
        "timeline": [
            {"seconds": round(one.at - live.planted_at, 1), "what": one.what, "detail": one.detail}
            for one in live.timeline
        ],
    }


def _stream_facts(live: dict[str, Any]) -> Table:
    table = plain_table("Live: match days over Kafka", "")
    table.columns[1].justify, table.columns[1].no_wrap, table.columns[1].max_width = "left", False, 64
    for name, n in live["stored"].items():
        table.add_row(name, f"{n:,}")
    table.add_row("withheld", ", ".join(f"{reason} {n:,}" for reason, n in live["withheld"].items()) or "none")
    table.add_row("requests meanwhile", f"{live['asked_meanwhile']:,}, {live['failed_meanwhile']} failed")
    for market, version in live["models_after"].items():
        table.add_row(f"model {market}", f"{live['models_before'].get(market, 'none')} → {version}")
    for run in live["failed_runs"]:
        table.add_row("failed run", run)
    return table


def _timeline(live: dict[str, Any]) -> Table:
    """What happened by itself after the drift was planted."""
    table = plain_table("what happened by itself", "s", title="From the planted drift to a retrained model, live")
    table.add_column("detail", overflow="fold", max_width=DETAIL_WIDTH)
    for one in live["timeline"]:
        table.add_row(one["what"], f"{one['seconds']:.1f}", one["detail"])
    return table


def _facts(summary: dict[str, Any]) -> Table:
    table = plain_table("From raw odds to a served model", "")
    table.columns[1].justify, table.columns[1].no_wrap = "left", False
    leagues = summary["leagues"]
    table.add_row("source", summary["source"])
    table.add_row("matches", f"{summary['matches']:,} in {len(leagues)} leagues, {summary['seasons']} seasons")
    table.add_row("leagues", ", ".join(leagues))
    table.add_row("books of prices", f"{summary['books']:,}")
    table.add_row("rows rejected", f"{summary['rejected']:,}")
    for market, champion in summary["champions"].items():
        table.add_row(f"champion {market}", champion)
    for market, answer in summary["service"].items():
        line = f"{answer['matches']} matches in {answer['milliseconds']} ms from {answer['model']}"
        table.add_row(f"service answer {market}", line)
    for one in summary["performance"]:
        table.add_row(f"served and settled {one['market']}", settled_line(one))
    for market, distance in summary["mean_distance_from_truth"].items():
        table.add_row(f"mean |p - true p| {market}", f"{distance:.4f}")
    table.add_row("peak memory", f"{summary['peak_memory_mb']:,} MB in one process")
    return table


def _model_table(market: str, rows: list[dict[str, Any]]) -> Table:
    table = plain_table(
        "model", "n", "log-loss", "RPS", "ECE", "vs market", "95 % CI", title=f"{market}: out of sample, walk-forward"
    )
    table.caption = "vs market: log-loss minus that of the market before the close; below zero is better"
    for row in rows:
        interval = "" if row["vs_market_lo"] is None else f"{row['vs_market_lo']:+.4f} {row['vs_market_hi']:+.4f}"
        mean = "" if row["vs_market_mean"] is None else f"{row['vs_market_mean']:+.4f}"
        numbers = ["" if row[key] is None else f"{row[key]:.4f}" for key in ("log_loss", "rps", "ece")]
        table.add_row(row["model"], f"{row['n']:,}", *numbers, mean, interval)
    return table


def _predictions(summary: dict[str, Any], market: str) -> Table:
    """The first upcoming matches of one market."""
    found = [one for one in summary["predictions"] if one["market"] == market]
    title = f"{market}: served for upcoming matches ({len(found[:MOST_SHOWN])} of {len(found)})"
    table = plain_table("match", "league", "date", *found[0]["probabilities"], title=title)
    for one in found[:MOST_SHOWN]:
        chances = [f"{p:.3f}" for p in one["probabilities"].values()]
        table.add_row(f"{one['home']} – {one['away']}", one["league"], str(one["match_date"])[:10], *chances)
    return table


def _times(summary: dict[str, Any]) -> Table:
    table = plain_table("stage", "seconds")
    for stage, seconds in summary["seconds"].items():
        table.add_row(stage, f"{seconds:.1f}")
    return table
