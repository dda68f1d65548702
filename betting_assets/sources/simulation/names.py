"""Invented team names."""

from __future__ import annotations

_FIRST = (
    *("Alder", "Bracken", "Cinder", "Drift", "Ember", "Fallow", "Gorse", "Harrow"),
    *("Ivy", "Juniper", "Kestrel", "Larch", "Mallow", "Nettle", "Osier", "Pebble"),
    *("Quarry", "Rushen", "Sorrel", "Thistle", "Umber", "Velvet", "Willow", "Yarrow"),
)
_SECOND = ["combe", "dale", "fold", "garth", "haven", "keld", "mere", "ness", "quay", "rigg", "shaw", "thwaite", "wick"]
_THIRD = ("", " Rovers", " Athletic", " Wanderers", " Albion", " Vale", " Harriers", " Borough")


def team_names(count: int, league: int) -> list[str]:
    """`count` different names; leagues start at different places of the same list (24 × 13 × 8 names)."""
    every = len(_FIRST) * len(_SECOND)
    names: list[str] = []
    for number in range(league * 31, league * 31 + count):
        # Steps of 25 through 312 places visit each once and change both halves of the name every time.
        place = number * 25 % every
        third = _THIRD[(number // every + number) % len(_THIRD)]
        names.append(f"{_FIRST[place % len(_FIRST)]}{_SECOND[place // len(_FIRST)]}{third}")
    return names
