"""A strict reader of docker-compose.yml: the part of the Compose specification that the file uses, and nothing else.

It stands in for `docker compose config` where the plugin is missing: a misspelt key, a service that depends on
nothing there, an undeclared volume or a variable without a value is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<rule>:[-?])(?P<text>[^}]*))?\})")
LOOPBACK = "127.0.0.1"

Duration = Annotated[str, StringConstraints(pattern=r"^(\d+h)?(\d+m)?(\d+s)?$", min_length=2)]
Command = Annotated[list[str], Field(min_length=1)]
Value = str | int | None
"""Of a variable; None: passed on from outside where set there."""


class MissingVariableError(ValueError):
    """A variable that must have a value has none."""


class Part(BaseModel):
    """Part of the file: no other keys, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Health(Part):
    """How a container's health is asked for."""

    test: Command
    interval: Duration
    timeout: Duration
    retries: int = 3
    start_period: Duration = "0s"
    start_interval: Duration = "5s"

    @model_validator(mode="after")
    def names_its_kind(self) -> Health:
        if self.test[0] not in ("CMD", "CMD-SHELL") or (self.test[0] == "CMD-SHELL" and len(self.test) != 2):
            raise ValueError(f"{self.test}: CMD with a program and arguments, or CMD-SHELL with one line")
        return self


class Dependency(Part):
    """What a container waits for."""

    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Service(Part):
    """One container."""

    image: str
    build: str | None = None
    command: Command | None = None
    network_mode: Literal["host"] | None = None
    init: bool = False
    restart: Literal["no", "unless-stopped"]
    stop_grace_period: Duration = "10s"
    cap_drop: list[str] = []
    cap_add: list[str] = []
    security_opt: list[str] = []
    volumes: list[str] = []
    ports: list[str] = []
    environment: dict[str, Value] = {}
    depends_on: dict[str, Dependency] = {}
    healthcheck: Health | None = None
    shm_size: str | None = None
    profiles: list[str] = []

    @model_validator(mode="after")
    def publishes_no_port_of_the_host(self) -> Service:
        if self.network_mode == "host" and self.ports:
            raise ValueError("ports mean nothing in the host's network")
        return self

    def program(self) -> list[str]:
        """The command, which must be there."""
        assert self.command is not None
        return self.command


class Compose(Part):
    """The file."""

    name: str
    services: dict[str, Service]
    volumes: dict[str, None] = {}

    @model_validator(mode="after")
    def names_what_is_there(self) -> Compose:
        for name, service in self.services.items():
            for needed, how in service.depends_on.items():
                if needed not in self.services:
                    raise ValueError(f"{name} depends on {needed}, which is no service")
                if how.condition == "service_healthy" and self.services[needed].healthcheck is None:
                    raise ValueError(f"{name} waits for {needed} to be healthy, which has no health check")
            for volume in service.volumes:
                source = volume.split(":")[0]
                if not source.startswith(("/", ".")) and source not in self.volumes:
                    raise ValueError(f"{name} mounts {source}, which is no volume")
        return self


def read(path: Path, environment: Mapping[str, str]) -> Compose:
    """The file with its variables filled in, as for all profiles.

    Raises:
        MissingVariableError: see there.
        ValidationError: the file is not as it must be.
    """
    content = {key: value for key, value in raw(path).items() if not key.startswith("x-")}
    return Compose.model_validate(_filled(content, environment))


def raw(path: Path) -> dict[str, Any]:
    """The file as it stands, anchors merged."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, environment) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, environment) for one in value]
    return _fill(value, environment) if isinstance(value, str) else value


def _fill(text: str, environment: Mapping[str, str]) -> str:
    def fill(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "$"
        given = environment.get(found["name"], "")
        if found["rule"] == ":?" and not given:
            raise MissingVariableError(f"{found['name']}: {found['text']}")
        return given or (found["text"] or "")

    return VARIABLE.sub(fill, text)
