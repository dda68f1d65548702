"""All consumer groups of the broker and the offsets that they committed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from betting_assets.embedded.broker.codes import Code, Refused
from betting_assets.embedded.broker.committed import Committed, Place, Position
from betting_assets.embedded.broker.group import Group, Joined, Member, State

TICK_SECONDS = 0.2
SESSION_SECONDS = (0.5, 1800.0)
MOST_METADATA = 4096


class Groups:
    """Members are not kept over a restart: they are told that they are unknown, and join again."""

    def __init__(self, committed: Committed) -> None:
        self.committed = committed
        self._groups: dict[str, Group] = {}

    def names(self) -> list[str]:
        return sorted(set(self._groups) | self.committed.groups())

    def get(self, name: str) -> Group | None:
        """None: there is none, and no offsets of one; an empty one where only offsets are left."""
        if name in self._groups:
            return self._groups[name]
        return Group(kind="consumer") if self.committed.of(name) else None

    def promise(self, name: str, client: str, session: float) -> str:
        """A member id for a newcomer. Raises Refused."""
        return self._open(name, session).promise(client, session)

    def join(self, name: str, member: Member, kind: str) -> asyncio.Future[Joined]:
        """Raises Refused."""
        return self._open(name, member.session).join(member, kind)

    def member_group(self, name: str) -> Group:
        """Raises Refused."""
        if name not in self._groups:
            raise Refused(Code.UNKNOWN_MEMBER_ID)
        return self._groups[name]

    def commit(self, name: str, member_id: str, generation: int, positions: Mapping[Place, Position]) -> None:
        """Raises Refused or OSError."""
        if not name:
            raise Refused(Code.INVALID_GROUP_ID)
        self._groups.get(name, Group()).check_commit(member_id, generation)
        self.committed.commit(dict(positions))

    def delete(self, name: str) -> None:
        """Raises Refused."""
        group = self.get(name)
        if group is None:
            raise Refused(Code.GROUP_ID_NOT_FOUND)
        if group.state is not State.EMPTY:
            raise Refused(Code.NON_EMPTY_GROUP)
        self._groups.pop(name, None)
        self.committed.delete(self.committed.of(name))

    def tick(self) -> None:
        for name, group in list(self._groups.items()):
            group.tick()
            if group.deserted:
                del self._groups[name]

    def _open(self, name: str, session: float) -> Group:
        if not name:
            raise Refused(Code.INVALID_GROUP_ID)
        if not SESSION_SECONDS[0] <= session <= SESSION_SECONDS[1]:
            raise Refused(Code.INVALID_SESSION_TIMEOUT)
        return self._groups.setdefault(name, Group())
