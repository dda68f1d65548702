"""One consumer group: Kafka's classic protocol of joining, one leader's assignment, and heartbeats."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from betting_assets.embedded.broker.codes import Code, Refused


class State(Enum):
    """The values are the names that clients know."""

    EMPTY = "Empty"
    JOINING = "PreparingRebalance"
    SYNCING = "CompletingRebalance"
    STABLE = "Stable"


@dataclass
class Member:
    """`joining` and `syncing` are what a request of it waits for."""

    id: str
    client: str
    host: str
    session: float
    rebalance: float
    protocols: dict[str, bytes]
    seen: float
    joining: asyncio.Future[Joined] | None = None
    syncing: asyncio.Future[bytes] | None = None
    assignment: bytes = b""

    @property
    def waits(self) -> bool:
        return self.joining is not None or self.syncing is not None


class Joined(NamedTuple):
    """The answer to a join; `members` (id → what it said) is for the leader only."""

    generation: int
    protocol: str
    leader: str
    member: str
    members: Mapping[str, bytes]


@dataclass
class Group:
    """The state machine. `tick` must be called a few times a second."""

    kind: str = ""
    state: State = State.EMPTY
    generation: int = 0
    protocol: str = ""
    leader: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    _promised: dict[str, float] = field(default_factory=dict)
    _join_by: float = 0.0

    @property
    def deserted(self) -> bool:
        return not self.members and not self._promised

    def promise(self, client: str, session: float) -> str:
        """A member id that the client shall join with."""
        member_id = f"{client or 'member'}-{uuid.uuid4()}"
        self._promised[member_id] = time.monotonic() + session
        return member_id

    def join(self, member: Member, kind: str) -> asyncio.Future[Joined]:
        """Raises Refused."""
        known = self.members.get(member.id)
        if known is None and member.id not in self._promised:
            raise Refused(Code.UNKNOWN_MEMBER_ID)
        others = [one for one in self.members.values() if one.id != member.id]
        fits = set(member.protocols).intersection(*(one.protocols for one in others))
        if not fits or (others and kind != self.kind):
            raise Refused(Code.INCONSISTENT_GROUP_PROTOCOL)
        self._promised.pop(member.id, None)
        self.kind = kind
        member.joining = asyncio.get_running_loop().create_future()
        answer = member.joining
        unchanged = known is not None and known.protocols == member.protocols
        if known is not None:
            member.assignment = known.assignment
            _cancel(known)
        self.members[member.id] = member
        settled = self.state is State.SYNCING or (self.state is State.STABLE and member.id != self.leader)
        if unchanged and settled:
            self._answer(member)
        else:
            self._rebalance()
        return answer

    def sync(self, member_id: str, generation: int, assignments: Mapping[str, bytes]) -> asyncio.Future[bytes]:
        """Raises Refused."""
        member = self._member(member_id, generation)
        if self.state is State.JOINING:
            raise Refused(Code.REBALANCE_IN_PROGRESS)
        member.syncing = answer = asyncio.get_running_loop().create_future()
        if self.state is State.SYNCING and member_id == self.leader:
            for one in self.members.values():
                one.assignment = assignments.get(one.id, b"")
            self.state = State.STABLE
        if self.state is State.STABLE:
            self._hand_out()
        return answer

    def heartbeat(self, member_id: str, generation: int) -> None:
        """Raises Refused."""
        self._member(member_id, generation)
        if self.state is State.JOINING:
            raise Refused(Code.REBALANCE_IN_PROGRESS)

    def check_commit(self, member_id: str, generation: int) -> None:
        """Whether this member may commit offsets now. Raises Refused."""
        if generation < 0 and not member_id and not self.members:
            return
        self._member(member_id, generation)
        if self.state is State.SYNCING:
            raise Refused(Code.REBALANCE_IN_PROGRESS)

    def leave(self, member_id: str) -> None:
        """Raises Refused."""
        if self._promised.pop(member_id, None) is None:
            if member_id not in self.members:
                raise Refused(Code.UNKNOWN_MEMBER_ID)
            self._remove(member_id)

    def tick(self) -> None:
        """Let members go that were not heard of, and end a rebalance that is complete or took too long."""
        now = time.monotonic()
        self._promised = {one: until for one, until in self._promised.items() if until > now}
        for member in list(self.members.values()):
            silent = not member.waits and now - member.seen > member.session
            late = self.state is State.JOINING and member.joining is None and now > self._join_by
            if silent or late:
                self._remove(member.id)

    def _member(self, member_id: str, generation: int) -> Member:
        member = self.members.get(member_id)
        if member is None:
            raise Refused(Code.UNKNOWN_MEMBER_ID)
        if generation != self.generation:
            raise Refused(Code.ILLEGAL_GENERATION)
        member.seen = time.monotonic()
        return member

    def _remove(self, member_id: str) -> None:
        _cancel(self.members.pop(member_id))
        self._rebalance()

    def _rebalance(self) -> None:
        if self.state is not State.JOINING:
            self.state = State.JOINING
            self._join_by = time.monotonic() + max((one.rebalance for one in self.members.values()), default=0.0)
            for member in self.members.values():
                if member.syncing is not None and not member.syncing.done():
                    member.syncing.set_exception(Refused(Code.REBALANCE_IN_PROGRESS))
                member.syncing = None
        if not self.members:
            self.state, self.leader, self.protocol = State.EMPTY, "", ""
            self.generation += 1
        elif all(member.joining is not None for member in self.members.values()):
            self._begin()

    def _begin(self) -> None:
        """Everybody is here: a new generation."""
        self.generation += 1
        self.state = State.SYNCING
        if self.leader not in self.members:
            self.leader = next(iter(self.members))
        common = set.intersection(*(set(member.protocols) for member in self.members.values()))
        self.protocol = next(name for name in self.members[self.leader].protocols if name in common)
        for member in self.members.values():
            member.assignment = b""
            self._answer(member)

    def _answer(self, member: Member) -> None:
        led = self.members if member.id == self.leader else {}
        said = {one.id: one.protocols[self.protocol] for one in led.values()}
        if member.joining is not None and not member.joining.done():
            member.joining.set_result(Joined(self.generation, self.protocol, self.leader, member.id, said))
        member.joining = None
        member.seen = time.monotonic()

    def _hand_out(self) -> None:
        for member in self.members.values():
            if member.syncing is not None:
                if not member.syncing.done():
                    member.syncing.set_result(member.assignment)
                member.syncing = None
                member.seen = time.monotonic()


def _cancel(member: Member) -> None:
    for waiting in (member.joining, member.syncing):
        if waiting is not None and not waiting.done():
            waiting.set_exception(Refused(Code.UNKNOWN_MEMBER_ID))
    member.joining = member.syncing = None
