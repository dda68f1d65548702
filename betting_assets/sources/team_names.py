"""One name for each team: typed variants as data, and near-misses reported, never merged."""

from __future__ import annotations

import difflib
from itertools import combinations

import pandas as pd

ALIASES: dict[str, dict[str, str]] = {
    "england": {
        "Nottingham Forest": "Nott'm Forest",
        "Manchester United": "Man United",
        "Manchester City": "Man City",
        "Sheffield Wednesday": "Sheffield Weds",
        "Queens Park Rangers": "QPR",
        "MK Dons": "Milton Keynes Dons",
        "Peterborough": "Peterboro",
        "King's Lynn": "King’s Lynn",
        "AFC Telford United": "Telford United",
        "Man Utd": "Man United",
        "Nottm Forest": "Nott'm Forest",
        "Sheff Utd": "Sheffield United",
        "Sheff Wed": "Sheffield Weds",
        "West Bromwich Albion": "West Brom",
        "Wolverhampton Wanderers": "Wolves",
        "Brighton and Hove Albion": "Brighton",
        "Tottenham Hotspur": "Tottenham",
        "West Ham United": "West Ham",
        "Newcastle United": "Newcastle",
        "Leeds United": "Leeds",
        "Leicester City": "Leicester",
        "Norwich City": "Norwich",
        "Ipswich Town": "Ipswich",
        "Luton Town": "Luton",
        "Cardiff City": "Cardiff",
        "Swansea City": "Swansea",
        "Hull City": "Hull",
        "Stoke City": "Stoke",
        "Huddersfield Town": "Huddersfield",
        "Birmingham City": "Birmingham",
        "Blackburn Rovers": "Blackburn",
        "Bolton Wanderers": "Bolton",
        "Charlton Athletic": "Charlton",
        "Coventry City": "Coventry",
        "Derby County": "Derby",
        "Oxford United": "Oxford",
        "Peterborough United": "Peterboro",
        "Plymouth Argyle": "Plymouth",
        "Preston North End": "Preston",
        "Rotherham United": "Rotherham",
        "Wigan Athletic": "Wigan",
    },
    "spain": {"Athletic Bilbao": "Ath Bilbao", "Atletico Madrid": "Ath Madrid", "Espanyol": "Espanol"},
    "germany": {"Borussia Monchengladbach": "M'gladbach", "Bayer Leverkusen": "Leverkusen"},
}
"""Pool → variant → the name that football-data.co.uk uses in its own files."""

SIMILAR = 0.85

_RESERVES = (" B", " II", " 2", " Amateure", " U21", " U23")
"""Second teams have the name of the first with one of these behind it."""


def canonical_name(pool: str, name: str) -> str:
    """The team's name with single spaces, in football-data.co.uk's spelling where a variant is known."""
    tidy = " ".join(name.split())
    return ALIASES.get(pool, {}).get(tidy, tidy)


def near_misses(matches: pd.DataFrame) -> list[str]:
    """Pairs of names in one pool that are spelt alike and may be one team; one warning each.

    A team cannot play twice on one day, so two names that ever appear on the same date are two teams.
    """
    warnings: list[str] = []
    for pool, played in matches.groupby("rating_pool"):
        sides = pd.concat([played[["match_date", side]].rename(columns={side: "team"}) for side in ("home", "away")])
        days = {str(team): set(dates) for team, dates in sides.groupby("team")["match_date"]}
        for one, other in combinations(sorted(days), 2):
            if _alike(one, other) and days[one].isdisjoint(days[other]):
                warnings.append(
                    f"{pool}: {one!r} ({len(days[one])} matches) and {other!r} ({len(days[other])} matches) may be one "
                    "team; if so, add the variant to ALIASES in sources/team_names.py"
                )
    return warnings


def _alike(one: str, other: str) -> bool:
    if any(one == other + ending or other == one + ending for ending in _RESERVES):
        return False
    matcher = difflib.SequenceMatcher(None, one.lower(), other.lower())
    return matcher.real_quick_ratio() >= SIMILAR and matcher.quick_ratio() >= SIMILAR and matcher.ratio() >= SIMILAR
