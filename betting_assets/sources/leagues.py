"""The leagues that football-data.co.uk covers, as data: country pool, name, tier and kind of season.

Teams of one country move between its divisions by promotion and relegation, so they share one rating pool.
"""

from __future__ import annotations

from typing import NamedTuple


class League(NamedTuple):
    """`calendar_year` is set where a season starts and ends within one year."""

    code: str
    pool: str
    name: str
    tier: int
    calendar_year: bool = False


LEAGUES: dict[str, League] = {
    league.code: league
    for league in (
        League("E0", "england", "Premier League", 1),
        League("E1", "england", "Championship", 2),
        League("E2", "england", "League One", 3),
        League("E3", "england", "League Two", 4),
        League("EC", "england", "National League", 5),
        League("SC0", "scotland", "Premiership", 1),
        League("SC1", "scotland", "Championship", 2),
        League("SC2", "scotland", "League One", 3),
        League("SC3", "scotland", "League Two", 4),
        League("D1", "germany", "Bundesliga", 1),
        League("D2", "germany", "2. Bundesliga", 2),
        League("I1", "italy", "Serie A", 1),
        League("I2", "italy", "Serie B", 2),
        League("SP1", "spain", "La Liga", 1),
        League("SP2", "spain", "Segunda División", 2),
        League("F1", "france", "Ligue 1", 1),
        League("F2", "france", "Ligue 2", 2),
        League("N1", "netherlands", "Eredivisie", 1),
        League("B1", "belgium", "Pro League", 1),
        League("P1", "portugal", "Primeira Liga", 1),
        League("T1", "turkey", "Süper Lig", 1),
        League("G1", "greece", "Super League", 1),
        League("ARG", "argentina", "Primera División", 1, calendar_year=True),
        League("AUT", "austria", "Bundesliga", 1),
        League("BRA", "brazil", "Série A", 1, calendar_year=True),
        League("CHN", "china", "Super League", 1, calendar_year=True),
        League("DNK", "denmark", "Superliga", 1),
        League("FIN", "finland", "Veikkausliiga", 1, calendar_year=True),
        League("IRL", "ireland", "Premier Division", 1, calendar_year=True),
        League("JPN", "japan", "J1 League", 1, calendar_year=True),
        League("MEX", "mexico", "Liga MX", 1),
        League("NOR", "norway", "Eliteserien", 1, calendar_year=True),
        League("POL", "poland", "Ekstraklasa", 1),
        League("ROU", "romania", "Liga 1", 1),
        League("RUS", "russia", "Premier League", 1),
        League("SWE", "sweden", "Allsvenskan", 1, calendar_year=True),
        League("SWZ", "switzerland", "Super League", 1),
        League("USA", "usa", "Major League Soccer", 1, calendar_year=True),
    )
}

COUNTRY_CODES: dict[str, str] = {
    league.pool: league.code for league in LEAGUES.values() if len(league.code) == 3 and league.code.isalpha()
}
"""Files of the extra leagues have a column Country instead of Div: 'brazil' → 'BRA'."""


def rating_pool(code: str) -> str:
    """The pool whose teams' ratings are comparable; an unknown league is a pool of its own."""
    known = LEAGUES.get(code)
    return known.pool if known else code.lower()
