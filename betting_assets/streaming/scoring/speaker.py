"""From what ticks have touched to what is said of it: views, features, the question to the Bento, the messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from betting_assets.betting.odds import MarginMethod
from betting_assets.settings import Settings
from betting_assets.streaming.messages import Prediction
from betting_assets.streaming.scoring.asking import Asker, Scored
from betting_assets.streaming.scoring.books import Match, moment
from betting_assets.streaming.scoring.guard import Limits
from betting_assets.streaming.scoring.keeper import Rows
from betting_assets.streaming.scoring.questions import Question, question
from betting_assets.streaming.scoring.recent import Recent
from betting_assets.streaming.scoring.speaking import prediction
from betting_assets.streaming.scoring.state import State, Touched
from betting_assets.streaming.scoring.strength import Strength, Strengths
from betting_assets.streaming.scoring.views import feature_columns, market_views, newest

SECOND = 1_000_000


class Speaker:
    """Says what is to be said of touched matches.

    Args:
        keep: takes feature rows for the stores.
        refresh: takes matches whose strength should be read again when there is time.
    """

    def __init__(
        self,
        settings: Settings,
        strengths: Strengths,
        asker: Asker,
        keep: Callable[[Rows], None],
        refresh: Callable[[Sequence[str]], None],
    ) -> None:
        self._strengths, self._asker, self._keep, self._refresh = strengths, asker, keep, refresh
        self._reference = settings.reference_book
        self._method = MarginMethod(settings.margin_method)
        self._max_age = int(settings.max_book_age_seconds * SECOND)
        self._max_distance = settings.max_median_distance
        self._recent = Recent()
        self._log_every = int(settings.log_every_seconds * SECOND)

    def speak(self, state: State) -> list[Prediction]:
        """Predictions for all that is touched.

        Raises:
            ServiceAwayError: the Bento does not answer.
            psycopg.Error: the online store does not.
        """
        ids = list(dict.fromkeys(match_id for match_id, _ in state.touched))
        matches = [state.matches[match_id] for match_id in ids]
        limits = Limits(state.now, self._max_age, self._max_distance)
        views = market_views(matches, state.names, limits, self._reference, self._method)
        columns = [column.tolist() for column in feature_columns(views).values()]
        times = newest(views)
        self._keep(dict(zip(ids, zip(times, *columns, strict=True), strict=True)))
        strengths, cards = self._strengths.of(ids), self._asker.cards
        places = {match_id: place for place, match_id in enumerate(ids)}
        questions = [
            question(
                match_id,
                market,
                place := places[match_id],
                views[market],
                strengths[match_id],
                cards.get(market),
                self._logged_time(matches[place], market, times[place], strengths[match_id], limits.now),
            )
            for match_id, market in state.touched
        ]
        answers = self._ask(questions)
        for one in questions:
            if one.steady is not None and one.logged_time is not None:
                state.matches[one.match_id].logged[one.market] = limits.now
        if old := self._strengths.old(ids):
            self._refresh(old)
        now = dt.datetime.now(dt.UTC)
        messages = []
        for one in questions:
            at = state.matches[one.match_id].lines[one.market].last
            assert at is not None, "only ticks touch a line"
            scored = answers.get((one.match_id, one.market))
            messages.append(prediction(one, scored, views[one.market], at, limits, self._reference, now))
        return messages

    def _ask(self, questions: Sequence[Question]) -> dict[Touched, Scored]:
        answers: dict[Touched, Scored] = {}
        asked: dict[str, list[Question]] = {}
        for one in questions:
            if (known := self._recent.find(one)) is not None:
                answers[one.match_id, one.market] = known
            elif one.steady is not None:
                asked.setdefault(one.market, []).append(one)
        found = self._asker.score({market: [one.row() for one in some] for market, some in asked.items()})
        for market, some in asked.items():
            for one, scored in zip(some, found[market], strict=True):
                self._recent.note(one, scored)
                answers[one.match_id, market] = scored
        return answers

    def _logged_time(
        self, match: Match, market: str, newest_book: int, strength: Strength, now: int
    ) -> dt.datetime | None:
        """The time of the newest feature, where it is this answer's turn to be logged."""
        last = match.logged.get(market)
        if last is not None and now - last < self._log_every:
            return None
        odds = moment(newest_book)
        return odds if strength.time is None else max(odds, strength.time)
