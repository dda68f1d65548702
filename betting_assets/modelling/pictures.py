"""Pictures for people who would rather look than read: PNG bytes, 900 pixels wide, legible without colour vision.

Colours are those of Okabe and Ito, "Color Universal Design", 2008. A title says what is seen, not what is drawn.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.betting.score import expected_calibration_error, reliability, simulated_ece_band
from betting_assets.modelling.performance import DUST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B3A800",
)  # fmt: skip
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, YELLOW)
GREY, PALE = "#666666", "#E3E6EA"

WIDTH, DPI = 9.0, 100
LARGEST_URI = 120_000
"""Characters of a data URI; Dagster keeps metadata in its database."""

TOP_TEAMS = 6
ABSENCE = pd.Timedelta(days=150)
"""Longer than any summer break: a team that played in another league."""

BINS = 15


def as_markdown(png: bytes, alt: str = "") -> str:
    """A Markdown image that carries its own bytes; a line that says so where it is too large to keep as metadata."""
    uri = f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})"
    if len(uri) > LARGEST_URI:
        return f"*{alt or 'picture'}: {len(uri):,} characters, metadata holds {LARGEST_URI:,}: left out*"
    return uri


def reliability_picture(
    probabilities: Floats, outcomes: npt.NDArray[np.int64], selections: Sequence[str], title: str
) -> bytes:
    """Frequencies against forecasts with the band that a calibrated forecaster would stay in, and how often each
    forecast was made.

    Args:
        probabilities: (n, k), rows sum to 1. `outcomes` (n,) are indices into `selections`.
        title: what was forecast; the calibration error and its simulated band are added.
    """
    ece, (lo, hi) = expected_calibration_error(probabilities, outcomes), simulated_ece_band(probabilities, n=200)
    verdict = "miscalibrated" if ece > hi else "calibrated"
    figure = _figure(4.6, f"{title}: {verdict}, error {ece:.4f} (perfect forecaster: {lo:.4f} to {hi:.4f})")
    above, below = figure.subplots(2, len(selections), height_ratios=[4, 1], sharex="col", sharey="row", squeeze=False)
    table = reliability(probabilities, outcomes, bins=BINS)
    edges = np.linspace(0.0, 1.0, 2 * BINS + 1)
    for i, (name, top, bottom) in enumerate(zip(selections, above, below, strict=True)):
        _reliability_panel(top, table[table["outcome"] == i], float(np.mean(outcomes == i)))
        top.set_title(name, fontsize=10)
        bottom.hist(probabilities[:, i], bins=edges.tolist(), color=SKY)
        bottom.set_xlabel("forecast")
        _plain(bottom)
    above[0].set_ylabel("frequency")
    above[0].legend(loc="upper left", fontsize=8, frameon=False)
    below[0].set_ylabel("matches")
    return _png(figure)


def ratings_picture(ratings: pd.DataFrame, matches: pd.DataFrame, league: str) -> bytes:
    """Elo ratings over time of the six teams of a league that are rated highest now.

    Args:
        ratings: match_id, home_elo, away_elo.
        matches: match_id, league, match_date, home, away.

    Raises:
        ValueError: the league has no rated match.
    """
    course = _course_of_teams(ratings, matches, league)
    if course.empty:
        raise ValueError(f"no rated match in league {league!r}")
    now = course.groupby("team")["elo"].last()
    playing = course.loc[course["match_date"] > course["match_date"].max() - ABSENCE, "team"].unique()
    top = now[playing].nlargest(TOP_TEAMS)
    first, last = course["match_date"].min(), course["match_date"].max()
    figure = _figure(
        4.4, f"{league}: {top.index[0]} rated highest, {top.iloc[0]:.0f} points ({first:%b %Y} to {last:%b %Y})"
    )
    axes = figure.subplots()
    every = _middle(course)
    axes.fill_between(every.index, every[0.1], every[0.9], color=PALE, label="middle 80 % of the league", lw=0)
    for team, colour in zip(top.index, COLOURS, strict=False):
        own = _with_gaps(course.loc[course["team"] == team].set_index("match_date")["elo"])
        axes.plot(own.index, own, color=colour, lw=1.4)
    _label_ends(
        axes, {str(team): (float(elo), colour) for (team, elo), colour in zip(top.items(), COLOURS, strict=False)}
    )
    axes.set_xlim(first, last)
    axes.set_ylabel("Elo")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    _plain(axes)
    return _png(figure)


def evaluation_picture(scores: Mapping[str, Mapping[str, Any]], title: str = "") -> bytes:
    """Log-loss of each forecaster minus the market's before the close, with confidence intervals and a table.

    Args:
        scores: what `evaluation.score` returns.
    """
    compared = [name for name, score in scores.items() if score.get("diff_vs_market_pre") and name != "market_pre"]
    order = sorted(compared, key=lambda name: -scores[name]["diff_vs_market_pre"]["log_loss"]["mean"])
    figure = _figure(1.4 + 0.42 * max(1, len(order)), _evaluation_title(scores, order, title))
    axes, table = figure.subplots(1, 2, width_ratios=[3, 2])
    # The base rate is so far off that the rest would shrink to a dot: it is stated, not drawn.
    drawn = [name for name in order if name != "base_rate"]
    for y, name in enumerate(order):
        interval = scores[name]["diff_vs_market_pre"]["log_loss"]
        if name in drawn:
            _interval_mark(axes, y, interval)
        else:
            axes.text(0.0, y, f"   {interval['mean']:+.4f}, off the scale →", va="center", fontsize=8, color=GREY)
    axes.axvline(0.0, color=GREY, lw=1)
    axes.set_yticks(range(len(order)), [name.replace("_", " ") for name in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlabel("log-loss minus the market before the close   (← better)", fontsize=9)
    _plain(axes)
    _score_table(table, scores, order)
    return _png(figure)


def margin_picture(consensus: pd.DataFrame, matches: pd.DataFrame, market: str = "1x2") -> bytes:
    """Median overround of the reference book by season, a line a league; hollow where another book took its place.

    Args:
        consensus: match_id, market_{market}_overround (0.05 is a margin of 5 %) and market_{market}_fallback.
        matches: match_id, league, season, match_date.

    Raises:
        ValueError: no match has a price.
    """
    column, fallback = f"market_{market}_overround", f"market_{market}_fallback"
    frame = consensus[["match_id", column, fallback]].dropna().merge(matches, on="match_id")
    if frame.empty:
        raise ValueError(f"no match has a price of market {market}")
    order = frame.groupby("season")["match_date"].min().sort_values().index
    cells = frame.assign(fallback=frame[fallback].astype("float64")).groupby(["season", "league"])
    table = 100 * cells[column].median().unstack().loc[order]
    substitute = cells["fallback"].mean().unstack().loc[order] > 0.5
    figure = _figure(4.0, f"Overround of {market}: lowest in {_lowest(table)}")
    axes = figure.subplots()
    ends = {}
    for colour, league in zip(_cycle(len(table.columns)), table.columns, strict=True):
        axes.plot(range(len(table)), table[league], color=colour, lw=1.6)
        for other, fill in ((False, colour), (True, "white")):
            at = np.flatnonzero((substitute[league] == other) & table[league].notna())
            axes.plot(at, table[league].iloc[at], "o", ms=5, color=colour, markerfacecolor=fill)
        ends[str(league)] = (float(table[league].dropna().iloc[-1]), colour)
    _label_ends(axes, ends)
    if substitute.to_numpy().any():
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", label="mostly without the reference book")
        axes.legend(loc="upper right", fontsize=8, frameon=False)
    axes.set_xticks(range(len(table)), [_season(str(season)) for season in order])
    axes.set_xlim(-0.2, len(table) - 1 + 0.02 * len(table))
    axes.set_ylabel("median overround, %")
    axes.set_ylim(bottom=min(0.0, float(table.min().min())))
    _plain(axes)
    return _png(figure)


def truth_picture(p_model: Floats, p_true: Floats, title: str = "Simulated league") -> bytes:
    """Model probabilities against the true ones of the simulator, each of any shape, all selections together."""
    model, true = np.ravel(p_model), np.ravel(p_true)
    error, bias = float(np.abs(model - true).mean()), float((model - true).mean())
    figure = _figure(4.6, f"{title}: the model is {100 * error:.1f} points off the truth on average")
    scatter, spread = figure.subplots(1, 2, width_ratios=[3, 2])
    scatter.hexbin(true, model, gridsize=45, extent=(0, 1, 0, 1), bins="log", cmap="Blues", mincnt=1, lw=0.1)
    scatter.plot([0, 1], [0, 1], color=RED, lw=1)
    scatter.set(xlabel="true probability", ylabel="model", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    spread.hist(100 * (model - true), bins=np.linspace(-15, 15, 61).tolist(), color=SKY)
    spread.axvline(0, color=RED, lw=1)
    spread.set(xlabel="model minus truth, percentage points", yticks=[])
    spread.set_title(f"mean {round(100 * bias, 1) + 0.0:+.1f} points", fontsize=10)
    _plain(scatter)
    _plain(spread)
    return _png(figure)


def _figure(height: float, title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return figure


def _png(figure: Figure) -> bytes:
    """PNG with a palette: a third of the size, and no difference that the eye could see in a diagram."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE).save(small, "PNG", optimize=True)
    return small.getvalue()


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=GREY)
    axes.set_axisbelow(True)


def _cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _season(code: str) -> str:
    """'1718' → '17/18'."""
    return f"{code[:2]}/{code[2:]}" if len(code) == 4 and code.isdigit() else code


def _reliability_panel(axes: Axes, table: pd.DataFrame, base_rate: float) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, label="perfect")
    axes.axhline(base_rate, color=ORANGE, lw=1, ls="--", label="base rate")
    axes.fill_between(table["mean_forecast"], table["lo"], table["hi"], color=PALE, lw=0, label="95 % band")
    outside = (table["frequency"] < table["lo"]) | (table["frequency"] > table["hi"])
    for rows, colour, marker, label in ((table[~outside], BLUE, "o", "inside"), (table[outside], RED, "D", "outside")):
        axes.plot(rows["mean_forecast"], rows["frequency"], marker, color=colour, ms=5, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    _plain(axes)


def _course_of_teams(ratings: pd.DataFrame, matches: pd.DataFrame, league: str) -> pd.DataFrame:
    """One row a team and match: match_date, team, elo, in order of time."""
    frame = matches.loc[matches["league"] == league, ["match_id", "match_date", "home", "away"]]
    frame = frame.merge(ratings[["match_id", "home_elo", "away_elo"]].dropna(), on="match_id")
    sides = [
        frame[["match_date", side, f"{side}_elo"]].set_axis(["match_date", "team", "elo"], axis=1)
        for side in ("home", "away")
    ]
    course = pd.concat(sides).assign(match_date=lambda f: pd.to_datetime(f["match_date"]))
    return course.sort_values("match_date", kind="stable")


def _with_gaps(ratings: pd.Series[float]) -> pd.Series[float]:
    """The ratings by date, with a NaN in each absence from the league, so that no line is drawn across it."""
    dates = ratings.index.to_series()
    back = dates[dates.diff() > ABSENCE] - pd.Timedelta(days=1)
    return pd.concat([ratings, pd.Series(np.nan, index=pd.DatetimeIndex(back))]).sort_index()


def _middle(course: pd.DataFrame) -> pd.DataFrame:
    """Columns 0.1 and 0.9: quantiles of the ratings of each quarter with a match or more a team."""
    quarters = course.groupby(pd.Grouper(key="match_date", freq="QS"))["elo"]
    fewest = course["team"].nunique()
    return quarters.quantile(np.array([0.1, 0.9])).unstack()[quarters.size() >= fewest].dropna()


def _label_ends(axes: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Names at the right border, at the height where their lines end, pushed apart where they would overlap."""
    from matplotlib.transforms import blended_transform_factory

    axes.margins(y=0.06)
    low, high = axes.get_ylim()
    gap = 0.055 * (high - low)
    place = -np.inf
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    for name, (height, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        place = max(height, place + gap)
        axes.text(1.01, place, name, color=colour, transform=beside, va="center", fontsize=9)


def _lowest(table: pd.DataFrame) -> str:
    values = table.to_numpy(dtype=np.float64)
    row, column = divmod(int(np.nanargmin(values)), table.shape[1])
    return f"{table.columns[column]} {_season(str(table.index[row]))}, {values[row, column]:.1f} %"


def _side(interval: Mapping[str, float]) -> int:
    """-1 when the whole interval is below zero, 1 when above, 0 when it cannot be told."""
    return int(interval["lo"] > DUST) - int(interval["hi"] < -DUST)


def _interval_mark(axes: Axes, y: int, interval: Mapping[str, float]) -> None:
    """Blue when surely better than the market, red when surely worse, grey when it cannot be told."""
    colour = {-1: BLUE, 0: GREY, 1: RED}[_side(interval)]
    axes.plot([interval["lo"], interval["hi"]], [y, y], color=colour, lw=2, solid_capstyle="butt")
    axes.plot(interval["mean"], y, "D" if colour == RED else "o", color=colour, ms=6)


def _score_table(axes: Axes, scores: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(-0.6, len(order) - 0.4))
    heads = ("difference", "log-loss", "RPS", "ECE")
    places = (0.24, 0.5, 0.75, 1.0)
    for x, head in zip(places, heads, strict=True):
        axes.text(x, len(order) - 0.45, head, ha="right", va="bottom", fontsize=9, color=GREY)
    for y, name in enumerate(order):
        score = scores[name]
        cells = (
            f"{score['diff_vs_market_pre']['log_loss']['mean']:+.4f}",
            f"{score['log_loss']:.4f}",
            f"{score['rps']:.4f}",
            f"{score['ece']:.4f}",
        )
        for x, cell in zip(places, cells, strict=True):
            axes.text(x, y, cell, ha="right", va="center", fontsize=9, family="monospace")


def _evaluation_title(scores: Mapping[str, Mapping[str, Any]], order: Sequence[str], title: str) -> str:
    models = [name for name in order if name not in ("base_rate", "market_close")]
    matches = max((scores[name]["n"] for name in order), default=0)
    start = f"{title}: " if title else ""
    if not models:
        return f"{start}nothing to compare with the market"
    best = min(models, key=lambda name: scores[name]["diff_vs_market_pre"]["log_loss"]["mean"])
    interval = scores[best]["diff_vs_market_pre"]["log_loss"]
    how = {-1: "beats", 0: "cannot be told from", 1: "loses to"}[_side(interval)]
    return f"{start}{best.replace('_', ' ')} {how} the market ({matches:,} matches)"
