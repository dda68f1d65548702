"""What the columns of a football-data.co.uk file mean: a rule over column names, because every season differs.

Facts are known by name (and by the names that other tools give them). Prices are PREFIX + [C] + SUFFIX: `B365H` is
Bet365's home price, `B365CH` its closing price, `BbAv>2.5` the market average for over 2.5 goals, `PCAHH` Pinnacle's
closing price for home with the handicap of column `AHCh`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from betting_assets.sources.bookmakers import BOOKMAKERS, HEADER_TYPOS, WORDS
from betting_assets.sources.records import SELECTIONS, Market, Phase, slug

FACTS: dict[str, tuple[str, ...]] = {
    "league": ("div",),
    "country": ("country",),
    "date": ("date",),
    "time": ("time",),
    "season": ("season",),
    "home": ("hometeam", "home_team", "home", "ht"),
    "away": ("awayteam", "away_team", "away", "at"),
    "home_score": ("fthg", "home_goals", "hg", "home_score"),
    "away_score": ("ftag", "away_goals", "ag", "away_score"),
    "home_shots": ("hs", "home_shots"),
    "away_shots": ("as", "away_shots"),
    "home_shots_on_target": ("hst", "home_shots_target", "home_shots_on_target"),
    "away_shots_on_target": ("ast", "away_shots_target", "away_shots_on_target"),
    "home_corners": ("hc", "home_corners"),
    "away_corners": ("ac", "away_corners"),
    "home_yellow_cards": ("hy", "home_yellows", "home_yellow_cards"),
    "away_yellow_cards": ("ay", "away_yellows", "away_yellow_cards"),
    "home_red_cards": ("hr", "home_reds", "home_red_cards"),
    "away_red_cards": ("ar", "away_reds", "away_red_cards"),
}
"""Field → column names in lower case, the preferred one first."""

_FACT_NAMES = {name: fact for fact, names in FACTS.items() for name in names}

_UNUSED = re.compile(
    r"(?i)|ftr|res|result|hthg|htag|htr|ht_(home|away)_goals|referee|attendance|league"
    r"|[ha](f|o|hw|bp|fkc)|(home|away)_(fouls|offsides)|bb(1x2|ou|ah)"
)
"""Columns that are understood and not needed: half time, officials, other counts, numbers of bookmakers."""

_SUFFIXES: tuple[tuple[str, Market, int], ...] = (
    ("AHH", Market.ASIAN_HANDICAP, 0),
    ("AHA", Market.ASIAN_HANDICAP, 1),
    ("H", Market.MATCH_RESULT, 0),
    ("D", Market.MATCH_RESULT, 1),
    ("A", Market.MATCH_RESULT, 2),
)
_GOALS = re.compile(r"(.+?)([<>])(\d+(?:\.\d+)?)")
_REWRITTEN_GOALS = re.compile(r"(.+?)[._](\d)[._](\d)([._]1)?")
"""`B365_2_5` and `B365_2_5_1` (or with points) are what some tools make of `B365>2.5` and `B365<2.5`."""
_WORDY = re.compile(r"(?i)(.+?)_(closing_|close_)?(home|draw|away|over|under)(?:_odds|_price)?")
_WORD_ENDINGS = {"home": "H", "draw": "D", "away": "A", "over": ">2.5", "under": "<2.5"}
_HANDICAP = re.compile(r"(?P<prefix>.*?)AH(?P<close>C?)h|(?P<own>.+)AH")


@dataclass(frozen=True)
class BookColumns:
    """Where the prices of one book stand: column indices in order of SELECTIONS[market], None where there is none.

    `line` is the constant line of the market, or None where it stands in the column `line_column`.
    """

    bookmaker: str
    market: Market
    phase: Phase
    line: float | None
    line_column: int | None
    columns: tuple[int | None, ...]
    rank: int


@dataclass(frozen=True)
class Layout:
    """`names` are the column names as they stand in the file; `facts` maps a field of FACTS to its column."""

    names: tuple[str, ...]
    facts: dict[str, int]
    books: list[BookColumns]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Price:
    """A column that looks like a price. The stem is the prefix, perhaps with the C of a closing price."""

    name: str
    stem: str
    market: Market
    line: float | None
    selection: int
    column: int


def read_layout(header: Sequence[str]) -> Layout:
    """Meaning of every column; the first of two equal names counts, blank names are ignored.

    A prefix that is not known but has a price for every selection is kept as a book under its own name, with a
    warning; any other column that is not understood is named in a warning.
    """
    names: dict[str, int] = {}
    for column, name in enumerate(header):
        if name:
            names.setdefault(_canonical(name), column)
    facts = _facts(names)
    extra = "country" in facts and "league" not in facts
    prices, lines, strange = _prices_and_lines({n: c for n, c in names.items() if n.lower() not in _FACT_NAMES})
    books, unknown, left_over = _books(prices, lines, closing_only=extra)
    warnings = [f"bookmaker prefix {stem!r} is not known; its prices are kept as {slug(stem)!r}" for stem in unknown]
    if strange or left_over:
        warnings.append(f"columns not understood: {', '.join(sorted(strange + left_over))}")
    return Layout(tuple(header), facts, books, warnings)


def _canonical(name: str) -> str:
    """The name in football-data.co.uk's own spelling."""
    name = HEADER_TYPOS.get(name, name)
    if found := _REWRITTEN_GOALS.fullmatch(name):
        return f"{found[1]}{'<' if found[4] else '>'}{found[2]}.{found[3]}"
    if (found := _WORDY.fullmatch(name)) and found[1].lower() in WORDS:
        return f"{WORDS[found[1].lower()]}{'C' if found[2] else ''}{_WORD_ENDINGS[found[3].lower()]}"
    return name


def _facts(names: dict[str, int]) -> dict[str, int]:
    lower = {name.lower(): column for name, column in reversed(names.items())}
    return {
        fact: lower[found]
        for fact, spellings in FACTS.items()
        if (found := next((name for name in spellings if name in lower), None)) is not None
    }


def _prices_and_lines(names: dict[str, int]) -> tuple[list[_Price], dict[tuple[str, bool], int], list[str]]:
    """Price columns, handicap line columns by (prefix, closing), and names that are neither."""
    prices: list[_Price] = []
    lines: dict[tuple[str, bool], int] = {}
    strange: list[str] = []
    for name, column in names.items():
        found = _HANDICAP.fullmatch(name)
        if found and found["own"] is None and found["prefix"] in ("", "Bb", *BOOKMAKERS):
            lines[found["prefix"], bool(found["close"])] = column
        elif found and found["own"] in BOOKMAKERS:
            lines[found["own"], False] = column
        elif price := _price(name, column):
            prices.append(price)
        elif not _UNUSED.fullmatch(name):
            strange.append(name)
    return prices, lines, strange


def _price(name: str, column: int) -> _Price | None:
    if _UNUSED.fullmatch(name):
        return None
    if found := _GOALS.fullmatch(name):
        return _Price(name, found[1], Market.OVER_UNDER, float(found[3]), "><".index(found[2]), column)
    candidates = [
        _Price(name, name[: -len(ending)], market, 0.0 if market is Market.MATCH_RESULT else None, selection, column)
        for ending, market, selection in _SUFFIXES
        if name.endswith(ending) and len(name) > len(ending)
    ]
    return next((price for price in candidates if _known(price.stem)), candidates[0] if candidates else None)


def _known(stem: str) -> tuple[str, bool] | None:
    """(prefix, closing) of a stem with a known prefix. The prefix itself wins: VC is a bookmaker, not a closing V."""
    if stem in BOOKMAKERS:
        return stem, False
    if stem.endswith("C") and stem[:-1] in BOOKMAKERS:
        return stem[:-1], True
    return None


def _books(
    prices: list[_Price], lines: dict[tuple[str, bool], int], closing_only: bool
) -> tuple[list[BookColumns], list[str], list[str]]:
    groups: dict[tuple[str, Market, float | None], dict[int, _Price]] = {}
    for price in prices:
        groups.setdefault((price.stem, price.market, price.line), {})[price.selection] = price
    unknown = {stem for (stem, market, _), found in groups.items() if not _known(stem) and len(found) == _size(market)}
    ranks = {prefix: rank for rank, prefix in enumerate([*BOOKMAKERS, *sorted(unknown)])}
    books: list[BookColumns] = []
    left_over: list[str] = []
    for (stem, market, line), found in groups.items():
        prefix, closing = _known(stem) or (stem, False)
        if stem in unknown and stem.endswith("C") and stem[:-1] in unknown:
            prefix, closing = stem[:-1], True
        if prefix not in ranks or not slug(prefix):
            left_over.extend(price.name for price in found.values())
            continue
        closing = closing or closing_only
        books.append(
            BookColumns(
                bookmaker=BOOKMAKERS.get(prefix, slug(prefix)),
                market=market,
                phase=Phase.CLOSE if closing else Phase.PRE_CLOSE,
                line=line,
                line_column=_line_column(lines, prefix, closing) if line is None else None,
                columns=tuple(found[k].column if k in found else None for k in range(_size(market))),
                rank=ranks[prefix],
            )
        )
    named = [stem for stem in sorted(unknown) if not (stem.endswith("C") and stem[:-1] in unknown)]
    return sorted(books, key=lambda book: (book.rank, book.phase, book.market, book.line or 0.0)), named, left_over


def _size(market: Market) -> int:
    return len(SELECTIONS[market])


def _line_column(lines: dict[tuple[str, bool], int], prefix: str, closing: bool) -> int | None:
    """A bookmaker's own line (GBAH, B365AH in the oldest files), Betbrain's for its columns, or the common one."""
    candidates = ((prefix, closing), ("Bb" if prefix.startswith("Bb") else "", closing))
    return next((lines[key] for key in candidates if key in lines), None)
