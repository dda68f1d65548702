"""Requests of consumer groups."""

from __future__ import annotations

import logging
import time
from typing import Any

from kafka.protocol.admin import DeleteGroupsResponse, DescribeGroupsResponse, ListGroupsResponse
from kafka.protocol.consumer import (
    HeartbeatResponse,
    JoinGroupResponse,
    LeaveGroupResponse,
    OffsetCommitResponse,
    OffsetFetchResponse,
    SyncGroupResponse,
)

from betting_assets.embedded.broker.catalogue import Catalogue
from betting_assets.embedded.broker.codes import Code, Refused
from betting_assets.embedded.broker.committed import Place, Position
from betting_assets.embedded.broker.group import Member
from betting_assets.embedded.broker.groups import MOST_METADATA, Groups

log = logging.getLogger(__name__)

FIRST_VERSION_WITH_PROMISED_IDS = 4

_Committed = OffsetCommitResponse.OffsetCommitResponseTopic
_Fetched = OffsetFetchResponse.OffsetFetchResponseTopic
_Described = DescribeGroupsResponse.DescribedGroup


class GroupApi:
    def __init__(self, groups: Groups, catalogue: Catalogue) -> None:
        self._groups = groups
        self._catalogue = catalogue

    async def join(self, request: Any, version: int) -> Any:
        client = request.header.client_id or ""
        session = request.session_timeout_ms / 1000
        try:
            member_id = request.member_id or self._groups.promise(request.group_id, client, session)
            if not request.member_id and version >= FIRST_VERSION_WITH_PROMISED_IDS:
                return JoinGroupResponse(version=version, error_code=Code.MEMBER_ID_REQUIRED, member_id=member_id)
            member = Member(
                id=member_id,
                client=client,
                host="/127.0.0.1",
                session=session,
                rebalance=max(request.rebalance_timeout_ms / 1000, session),
                protocols={one.name: bytes(one.metadata) for one in request.protocols},
                seen=time.monotonic(),
            )
            joined = await self._groups.join(request.group_id, member, request.protocol_type)
        except Refused as refused:
            return JoinGroupResponse(version=version, error_code=refused.code, member_id=request.member_id)
        answer = JoinGroupResponse.JoinGroupResponseMember
        return JoinGroupResponse(
            version=version,
            generation_id=joined.generation,
            protocol_name=joined.protocol,
            leader=joined.leader,
            member_id=joined.member,
            members=[answer(member_id=one, metadata=said) for one, said in joined.members.items()],
        )

    async def sync(self, request: Any, version: int) -> Any:
        assignments = {one.member_id: bytes(one.assignment) for one in request.assignments}
        try:
            group = self._groups.member_group(request.group_id)
            assignment = await group.sync(request.member_id, request.generation_id, assignments)
        except Refused as refused:
            return SyncGroupResponse(version=version, error_code=refused.code)
        return SyncGroupResponse(version=version, assignment=assignment)

    def heartbeat(self, request: Any, version: int) -> Any:
        try:
            self._groups.member_group(request.group_id).heartbeat(request.member_id, request.generation_id)
        except Refused as refused:
            return HeartbeatResponse(version=version, error_code=refused.code)
        return HeartbeatResponse(version=version)

    def leave(self, request: Any, version: int) -> Any:
        try:
            self._groups.member_group(request.group_id).leave(request.member_id)
        except Refused as refused:
            return LeaveGroupResponse(version=version, error_code=refused.code)
        return LeaveGroupResponse(version=version)

    def commit(self, request: Any, version: int) -> Any:
        refused = {
            (topic.name, one.partition_index): code
            for topic in request.topics
            for one in topic.partitions
            if (code := self._refusal(topic.name, one)) is not Code.NONE
        }
        positions = {
            Place(request.group_id, topic.name, one.partition_index): Position(
                one.committed_offset, one.committed_metadata or ""
            )
            for topic in request.topics
            for one in topic.partitions
            if (topic.name, one.partition_index) not in refused
        }
        code = self._commit(request, positions)
        answer = _Committed.OffsetCommitResponsePartition
        topics = [
            _Committed(
                name=topic.name,
                partitions=[
                    answer(
                        partition_index=one.partition_index,
                        error_code=code or refused.get((topic.name, one.partition_index), code),
                    )
                    for one in topic.partitions
                ],
            )
            for topic in request.topics
        ]
        return OffsetCommitResponse(version=version, topics=topics)

    def _commit(self, request: Any, positions: dict[Place, Position]) -> Code:
        try:
            generation = request.generation_id_or_member_epoch
            self._groups.commit(request.group_id, request.member_id, generation, positions)
        except Refused as refused:
            return refused.code
        except OSError as error:
            log.error("cannot keep committed offsets: %s", error.strerror)
            return Code.STORAGE_ERROR
        return Code.NONE

    def _refusal(self, topic: str, wanted: Any) -> Code:
        if len(wanted.committed_metadata or "") > MOST_METADATA:
            return Code.OFFSET_METADATA_TOO_LARGE
        try:
            self._catalogue.partition(topic, wanted.partition_index)
        except Refused as refused:
            return refused.code
        return Code.NONE

    def fetch_committed(self, request: Any, version: int) -> Any:
        there = self._groups.committed.of(request.group_id)
        if request.topics is None:
            wanted: dict[str, list[int]] = {}
            for place in there:
                wanted.setdefault(place.topic, []).append(place.partition)
        else:
            wanted = {topic.name: topic.partition_indexes for topic in request.topics}
        none = Position(-1, "")
        topics = [
            _Fetched(
                name=topic,
                partitions=[
                    _fetched(index, there.get(Place(request.group_id, topic, index), none)) for index in indexes
                ],
            )
            for topic, indexes in wanted.items()
        ]
        return OffsetFetchResponse(version=version, topics=topics)

    def list_groups(self, request: Any, version: int) -> Any:
        found = [(name, group) for name in self._groups.names() if (group := self._groups.get(name)) is not None]
        states = set(request.states_filter or [])
        listed = [
            ListGroupsResponse.ListedGroup(group_id=name, protocol_type=group.kind, group_state=group.state.value)
            for name, group in found
            if not states or group.state.value in states
        ]
        return ListGroupsResponse(version=version, groups=listed)

    def describe_groups(self, request: Any, version: int) -> Any:
        return DescribeGroupsResponse(version=version, groups=[self._describe(name) for name in request.groups])

    def _describe(self, name: str) -> Any:
        if (group := self._groups.get(name)) is None:
            return _Described(group_id=name, group_state="Dead")
        members = [
            _Described.DescribedGroupMember(
                member_id=one.id,
                client_id=one.client,
                client_host=one.host,
                member_metadata=one.protocols.get(group.protocol, b""),
                member_assignment=one.assignment,
            )
            for one in group.members.values()
        ]
        return _Described(
            group_id=name,
            group_state=group.state.value,
            protocol_type=group.kind,
            protocol_data=group.protocol,
            members=members,
        )

    def delete_groups(self, request: Any, version: int) -> Any:
        return DeleteGroupsResponse(version=version, results=[self._delete(name) for name in request.groups_names])

    def _delete(self, name: str) -> Any:
        answer = DeleteGroupsResponse.DeletableGroupResult
        try:
            self._groups.delete(name)
        except Refused as refused:
            return answer(group_id=name, error_code=refused.code)
        return answer(group_id=name)


def _fetched(index: int, position: Position) -> Any:
    answer = _Fetched.OffsetFetchResponsePartition
    return answer(partition_index=index, committed_offset=position.offset, metadata=position.metadata)
