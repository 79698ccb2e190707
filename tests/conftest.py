"""Shapes are checked in every test, nothing reaches the network, one thread keeps sums in one order."""

import os
import socket

os.environ["HF_HUB_OFFLINE"] = "1"

from jaxtyping import install_import_hook

install_import_hook("dearlib", "typechecker.check")

import pytest
import torch
from registered import Tiny
from role_maps import make_roles

from dearlib.clip.loading import FrozenClip, random_clip
from dearlib.roles.rolefile import HeadRoles

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets to other machines raise; those of this machine (Unix sockets, loopback) stay."""
    connect, lookup = socket.socket.connect, socket.getaddrinfo
    loopback = ("127.0.0.1", "::1", "localhost")

    def guarded(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX and not (isinstance(address, tuple) and address[0] in loopback):
            raise AssertionError(f"a test tried to reach the network: {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)

    def guarded_lookup(host: object, *args: object, **kwargs: object) -> object:
        if host not in loopback:
            raise AssertionError(f"a test tried to look up {host!r}")
        return lookup(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", guarded_lookup)


@pytest.fixture(scope="session")
def clip() -> FrozenClip:
    """DeAR-Mini with random weights in float64: what is exact stays exact."""
    made = random_clip()
    made.model.double()
    return made


@pytest.fixture
def tiny(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Models and tags of a test's own."""
    return Tiny(tmp_path_factory.mktemp("tiny"), monkeypatch)


@pytest.fixture(scope="session")
def roles(clip: FrozenClip) -> HeadRoles:
    return make_roles(clip)
