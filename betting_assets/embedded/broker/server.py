"""The broker's ear: reads requests of Kafka's protocol, one after the other on a connection, and answers them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka.protocol import admin, consumer, metadata, producer

from betting_assets.embedded.broker.catalogue import Catalogue
from betting_assets.embedded.broker.codes import Code
from betting_assets.embedded.broker.committed import Committed
from betting_assets.embedded.broker.group_api import GroupApi
from betting_assets.embedded.broker.groups import TICK_SECONDS, Groups
from betting_assets.embedded.broker.open_files import OpenFiles
from betting_assets.embedded.broker.record_api import RecordApi
from betting_assets.embedded.broker.topic_api import TopicApi

log = logging.getLogger(__name__)

MOST_REQUEST_BYTES = 16 * 1024 * 1024
MOST_CONNECTIONS = 512
SYNC_SECONDS = 1.0
EXPIRE_SECONDS = 60.0
_API_VERSIONS = 18
_HEADER = struct.Struct(">hhi")


@dataclass(frozen=True)
class Api:
    """A kind of request: its versions that we speak, and what answers it."""

    oldest: int
    newest: int
    request: Any
    answer: Callable[[Any, int], Any | Awaitable[Any]]


class Broker:
    """Serves the folder at host:port. Hold the folder's lock meanwhile."""

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self._address = host, port
        self._files = OpenFiles()
        self.catalogue = Catalogue(folder, self._files)
        committed = Committed(folder, self._files)
        self._groups = Groups(committed)
        records = RecordApi(self.catalogue)
        topics = TopicApi(self.catalogue, host, port, committed.delete_topic)
        groups = GroupApi(self._groups, self.catalogue)
        self._apis = {api.request.API_KEY: api for api in self._speaks(records, topics, groups)}
        self._connections: set[asyncio.Task[None]] = set()

    def _speaks(self, records: RecordApi, topics: TopicApi, groups: GroupApi) -> list[Api]:
        """Versions end before those that know topics by id only, and joining before static members.

        They begin where librdkafka looks for them, which for produce is before the format of records that we keep.
        """
        return [
            Api(0, 8, producer.ProduceRequest, records.produce),
            Api(4, 11, consumer.FetchRequest, records.fetch),
            Api(1, 6, consumer.ListOffsetsRequest, records.list_offsets),
            Api(0, 12, metadata.MetadataRequest, topics.metadata),
            Api(2, 8, consumer.OffsetCommitRequest, groups.commit),
            Api(1, 7, consumer.OffsetFetchRequest, groups.fetch_committed),
            Api(0, 3, metadata.FindCoordinatorRequest, topics.find_coordinator),
            Api(0, 4, consumer.JoinGroupRequest, groups.join),
            Api(0, 2, consumer.HeartbeatRequest, groups.heartbeat),
            Api(0, 2, consumer.LeaveGroupRequest, groups.leave),
            Api(0, 2, consumer.SyncGroupRequest, groups.sync),
            Api(0, 5, admin.DescribeGroupsRequest, groups.describe_groups),
            Api(0, 4, admin.ListGroupsRequest, groups.list_groups),
            Api(0, 4, metadata.ApiVersionsRequest, self._versions),
            Api(2, 7, admin.CreateTopicsRequest, topics.create_topics),
            Api(1, 6, admin.DeleteTopicsRequest, topics.delete_topics),
            Api(0, 2, admin.DeleteRecordsRequest, records.delete_records),
            Api(0, 4, producer.InitProducerIdRequest, records.new_producer),
            Api(1, 4, admin.DescribeConfigsRequest, topics.describe_configs),
            Api(0, 3, admin.CreatePartitionsRequest, topics.create_partitions),
            Api(0, 2, admin.DeleteGroupsRequest, groups.delete_groups),
            Api(0, 1, admin.IncrementalAlterConfigsRequest, topics.alter_configs),
            Api(0, 1, admin.DescribeClusterRequest, topics.describe_cluster),
        ]

    async def serve(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises OSError when the port cannot be had."""
        host, port = self._address
        server = await asyncio.start_server(self._accept, host, port)
        log.info("development broker %s listens on %s:%d", self.catalogue.cluster_id, host, port)
        chores = [
            asyncio.create_task(_every(SYNC_SECONDS, self._files.sync_all)),
            asyncio.create_task(_every(EXPIRE_SECONDS, self.catalogue.expire)),
            asyncio.create_task(_every(TICK_SECONDS, self._groups.tick)),
        ]
        waiting = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([waiting, *chores], return_when=asyncio.FIRST_COMPLETED)
            for ended in done - {waiting}:
                ended.result()  # a chore only ends by failing, and then so do we
        finally:
            server.close()
            for task in (waiting, *chores, *self._connections):
                task.cancel()
            await asyncio.gather(waiting, *chores, *self._connections, return_exceptions=True)
            self._files.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) > MOST_CONNECTIONS:
                log.warning("more than %d connections: one is refused", MOST_CONNECTIONS)
            else:
                await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # it went away, or we do
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            if not _HEADER.size <= size <= MOST_REQUEST_BYTES:
                log.warning("a request of %d bytes: its connection is closed", size)
                return
            frame = await reader.readexactly(size)
            key, version, correlation = _HEADER.unpack_from(frame)
            try:
                answer = await self._answer(frame, key, version)
            except (ConnectionError, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("a request (API %d, version %d) failed: its connection is closed", key, version)
                return
            if answer is not None:
                answer.with_header(correlation_id=correlation)
                writer.write(answer.encode(header=True, framed=True))
                await writer.drain()

    async def _answer(self, frame: bytes, key: int, version: int) -> Any:
        api = self._apis.get(key)
        if api is None or not api.oldest <= version <= api.newest:
            if key == _API_VERSIONS:  # a client newer than we are: it asks again with what it is told here
                return self._versions(None, 0, Code.UNSUPPORTED_VERSION)
            log.warning("API %d version %d is not spoken here: a connection is closed", key, version)
            raise ConnectionError
        answer = api.answer(api.request.decode(frame, version=version, header=True), version)
        return await answer if inspect.isawaitable(answer) else answer

    def _versions(self, request: Any, version: int, code: Code = Code.NONE) -> Any:
        kind = metadata.ApiVersionsResponse.ApiVersion
        spoken = [kind(api_key=key, min_version=api.oldest, max_version=api.newest) for key, api in self._apis.items()]
        return metadata.ApiVersionsResponse(version=version, error_code=code, api_keys=spoken)


async def _every(seconds: float, chore: Callable[[], Awaitable[None] | None]) -> None:
    """Raises what the chore raises, except for a full disk and the like, which may pass."""
    while True:
        await asyncio.sleep(seconds)
        try:
            pending = chore()
            if pending is not None:
                await pending
        except OSError as error:
            log.error("%s: %s", getattr(chore, "__qualname__", chore), error)
