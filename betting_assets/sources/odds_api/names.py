"""Names that The Odds API gives to leagues and bookmakers, as data, beside the ones that the platform uses."""

from __future__ import annotations

from betting_assets.sources.records import slug

SOURCE = "odds-api"

FOOTBALL_PREFIX = "soccer_"

LEAGUE_CODES: dict[str, str] = {
    "soccer_epl": "E0",
    "soccer_efl_champ": "E1",
    "soccer_england_league1": "E2",
    "soccer_england_league2": "E3",
    "soccer_spl": "SC0",
    "soccer_germany_bundesliga": "D1",
    "soccer_germany_bundesliga2": "D2",
    "soccer_italy_serie_a": "I1",
    "soccer_italy_serie_b": "I2",
    "soccer_spain_la_liga": "SP1",
    "soccer_spain_segunda_division": "SP2",
    "soccer_france_ligue_one": "F1",
    "soccer_france_ligue_two": "F2",
    "soccer_netherlands_eredivisie": "N1",
    "soccer_belgium_first_div": "B1",
    "soccer_portugal_primeira_liga": "P1",
    "soccer_turkey_super_league": "T1",
    "soccer_greece_super_league": "G1",
    "soccer_argentina_primera_division": "ARG",
    "soccer_austria_bundesliga": "AUT",
    "soccer_brazil_campeonato": "BRA",
    "soccer_china_superleague": "CHN",
    "soccer_denmark_superliga": "DNK",
    "soccer_finland_veikkausliiga": "FIN",
    "soccer_league_of_ireland": "IRL",
    "soccer_japan_j_league": "JPN",
    "soccer_mexico_ligamx": "MEX",
    "soccer_norway_eliteserien": "NOR",
    "soccer_poland_ekstraklasa": "POL",
    "soccer_russia_premier_league": "RUS",
    "soccer_sweden_allsvenskan": "SWE",
    "soccer_switzerland_superleague": "SWZ",
    "soccer_usa_mls": "USA",
}
"""Sport key → the league's code in the files of football-data.co.uk."""

BOOKMAKERS: dict[str, str] = {
    "williamhill": "william-hill",
    "ladbrokes_uk": "ladbrokes",
    "betfred_uk": "betfred",
    "onexbet": "1xbet",
    "betfair_ex_uk": "betfair-exchange",
    "betfair_sb_uk": "betfair-sportsbook",
    "sport888": "888sport",
}
"""Key → slug, where football-data.co.uk has the same bookmaker under another name; the others keep theirs."""


def league_of(sport_key: str) -> str:
    """The league's code; a league that football-data.co.uk does not cover goes by its sport key."""
    return LEAGUE_CODES.get(sport_key, sport_key)


def bookmaker_slug(key: str) -> str:
    return BOOKMAKERS.get(key) or slug(key)
