"""The live feed that the settings name, for as long as the platform is up."""

from __future__ import annotations

import itertools
import logging
import threading

from betting_assets.settings import Settings
from betting_assets.streaming.feeds.errors import FeedError
from betting_assets.streaming.feeds.odds_api_poller import Poller, PollerConfig, sports_of
from betting_assets.streaming.feeds.publisher import publish
from betting_assets.streaming.feeds.simulated import simulated_match_days

log = logging.getLogger(__name__)

SIMULATED_SPEED = 60.0
LONGEST_SILENCE = 5.0


def run_live_feed(settings: Settings, stop: threading.Event) -> None:
    """Feed the topics until `stop` is set; a feed that has come to its end waits for that, and says so in the log.

    Raises:
        FeedError, BrokerError, SourceError: one line.
    """
    if not settings.live_feed:
        raise FeedError("no live feed is chosen: set BETTING_LIVE_FEED to simulator or odds_api")
    if settings.live_feed == "odds_api":
        Poller(settings, PollerConfig(sports=sports_of(settings.leagues)), stop).run()
    else:
        events = itertools.chain.from_iterable(simulated_match_days(settings, settings.hold_back_days))
        running = itertools.takewhile(lambda _: not stop.is_set(), events)
        published = publish(settings, running, SIMULATED_SPEED, max_gap=LONGEST_SILENCE)
        log.info("the simulated match day is over: %d messages published", published.total)
    stop.wait()
