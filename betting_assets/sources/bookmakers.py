"""Bookmaker prefixes of football-data.co.uk column names, as data. Books come and go every season.

A column name is PREFIX + (C for the closing price) + SUFFIX; `layout.py` reads it. Where one bookmaker has several
prefixes (renames, or P beside PS), the one that stands first here wins when both hold a price.
"""

from __future__ import annotations

MARKET_AVERAGE = "market-average"
MARKET_MAXIMUM = "market-maximum"

BOOKMAKERS: dict[str, str] = {
    "PS": "pinnacle",
    "P": "pinnacle",
    "B365": "bet365",
    "BF": "betfair-sportsbook",
    "BFE": "betfair-exchange",
    "BFD": "betfred",
    "BMGM": "betmgm",
    "BS": "blue-square",
    "BV": "betvictor",
    "VC": "betvictor",
    "BW": "bwin",
    "CL": "coral",
    "GB": "gamebookers",
    "IW": "interwetten",
    "LB": "ladbrokes",
    "SB": "sportingbet",
    "SJ": "stan-james",
    "SO": "sporting-odds",
    "SY": "stanleybet",
    "WH": "william-hill",
    "1XB": "1xbet",
    "Avg": MARKET_AVERAGE,
    "BbAv": MARKET_AVERAGE,
    "Max": MARKET_MAXIMUM,
    "BbMx": MARKET_MAXIMUM,
}

WORDS: dict[str, str] = {
    "bet365": "B365",
    "b365": "B365",
    "pinnacle": "PS",
    "bwin": "BW",
    "interwetten": "IW",
    "ladbrokes": "LB",
    "coral": "CL",
    "betfair": "BF",
    "betfair_exchange": "BFE",
    "betfred": "BFD",
    "betvictor": "BV",
    "vc_bet": "VC",
    "william_hill": "WH",
    "williamhill": "WH",
    "stan_james": "SJ",
    "1xbet": "1XB",
    "avg": "Avg",
    "average": "Avg",
    "market_avg": "Avg",
    "max": "Max",
    "maximum": "Max",
    "market_max": "Max",
}
"""Names that other tools give to the prefixes when they rewrite the files, as in `bet365_home`."""

HEADER_TYPOS: dict[str, str] = {"B36CA": "B365CA", "B36CH": "B365CH", "B36CD": "B365CD"}
"""Misspelt column names met in published files."""
