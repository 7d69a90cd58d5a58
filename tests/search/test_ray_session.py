from __future__ import annotations

import socket

import pytest

from search.ray_session import ray_session
from understudy import ConfigError


def test_an_address_where_nothing_listens_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConfigError, match="ray start --head"), ray_session(f"127.0.0.1:{port}", 1):
        pass
