"""A code location with the streams alone: the real assets, sensors and plans, and no features behind them.

The whole graph would train models meanwhile. Waiting is cut short, so that a test sees what takes minutes.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

from betting_assets.defs import stream_sensors, streams
from betting_assets.defs.resources import Platform
from betting_assets.settings import settings

stream_sensors.PAUSE = dt.timedelta(seconds=1)
stream_sensors.GIVE_UP = dt.timedelta(seconds=45)

defs = dg.Definitions(
    assets=[streams.odds_ticks, streams.live_results, streams.live_history],
    jobs=[dg.define_asset_job("settle_live", selection=["live_history"])],
    sensors=[stream_sensors.landed, stream_sensors.settle_results],
    resources={"platform": Platform(settings())},
    executor=dg.in_process_executor,
)
