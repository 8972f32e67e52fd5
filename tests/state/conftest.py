"""A Redis for the tests of a module, and the states with and without it."""

from collections.abc import Iterator

import pytest

from tests.support.redis import RedisServer, running
from tests.support.states import RedisWorld, World, world


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def shared(request: pytest.FixtureRequest, server: RedisServer) -> Iterator[World]:
    with world(World if request.param == "memory" else lambda: RedisWorld(server)) as made:
        yield made


@pytest.fixture
def redis(server: RedisServer) -> Iterator[RedisWorld]:
    with world(lambda: RedisWorld(server)) as made:
        assert isinstance(made, RedisWorld)
        yield made
