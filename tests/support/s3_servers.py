"""S3 servers of this machine, for the length of a `with` block."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEY, SECRET = "AKIDRECONTESTS", "recon-tests-secret"
DUMMY_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_FORBIDDEN = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
)
_STARTS, _START_SECONDS, _STOP_SECONDS = 3, 45, 2
_FIRST_PORT, _LAST_PORT, _GRPC_OFFSET = 12_000, 21_900, 10_000
_IDENTITY = {
    "name": "tests",
    "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
}


@contextmanager
def dummy_credentials() -> Iterator[None]:
    """An environment that can reach no real account and asks no metadata service."""
    with patch.dict(os.environ, DUMMY_ENVIRONMENT):
        for name in _FORBIDDEN:
            os.environ.pop(name, None)
        yield


@contextmanager
def moto_s3() -> Iterator[str]:
    """A moto server; it ignores copy conditions, signatures and checksums."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with dummy_credentials():
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield f"http://{host}:{port}"
        finally:
            server.stop()
            if server._server is not None:
                server._server.server_close()  # or its socket is left to a warning


def fill_moto(bucket: str, keys: Iterable[str], data: bytes) -> None:
    """Store many objects at once: a request for each takes longer than their test."""
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for key in keys:
        backend.put_object(bucket, key, data)


@contextmanager
def seaweed_s3() -> Iterator[str]:
    """A SeaweedFS server; it enforces signatures, checksums and every condition."""
    with dummy_credentials():
        for _ in range(_STARTS):
            with ExitStack() as stack:
                endpoint, server = _start_weed(stack)
                # Another process may have taken one of the ports meanwhile.
                if _stores_in_time(endpoint, server):
                    yield endpoint
                    return
        raise RuntimeError("SeaweedFS did not start")


def _start_weed(stack: ExitStack) -> tuple[str, subprocess.Popen[bytes]]:
    folder = Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="recon-weed-"))
    )
    ports = _free_ports(4)
    log = stack.enter_context((folder / "log").open("wb"))
    server = subprocess.Popen(_weed(folder, ports), stdout=log, stderr=log)
    stack.callback(_stop, server)
    return f"http://127.0.0.1:{ports[-1]}", server


def _weed(folder: Path, ports: list[int]) -> list[str]:
    (folder / "data").mkdir()
    identities = folder / "identities.json"
    identities.write_text(json.dumps({"identities": [_IDENTITY]}))
    names = ("master", "volume", "filer", "s3")
    return [
        str(Path(sysconfig.get_path("scripts")) / "weed"),
        f"-logdir={folder}",
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder / 'data'}",
        "-filer",
        "-s3",
        *(f"-{name}.port={port}" for name, port in zip(names, ports, strict=True)),
        f"-s3.config={identities}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-volume.max=500",
        "-volume.preStopSeconds=0",
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
    ]


def _free_ports(count: int) -> list[int]:
    """Ports below the ephemeral range; weed also listens 10,000 above each."""
    found: list[int] = []
    every = range(_FIRST_PORT, _LAST_PORT)
    # Workers have neighbouring process ids, and start at the same time.
    for port in random.sample(every, len(every)):
        if _is_free(port) and _is_free(port + _GRPC_OFFSET):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _stores_in_time(endpoint: str, server: subprocess.Popen[bytes]) -> bool:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    client = boto3.client("s3", endpoint_url=endpoint, config=config)
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not _stores(client):
            if server.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True
    finally:
        client.close()


def _stores(client: Any) -> bool:
    with suppress(ClientError, BotoCoreError):
        client.create_bucket(Bucket="ready")
    try:
        client.put_object(Bucket="ready", Key="ready", Body=b"")
    except (ClientError, BotoCoreError):
        return False
    return True


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End this one process, and wait: its ports are free only then.

    A graceful end takes 15 seconds to save what is thrown away here, so it is cut off.
    """
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
