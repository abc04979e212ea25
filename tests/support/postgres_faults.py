"""A proxy before Postgres that follows the frontend protocol and breaks it off.

https://www.postgresql.org/docs/current/protocol-message-formats.html: but for the very
first, each message is a letter, a length that counts itself, and a body.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict, make_conninfo


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUERY, PARSE, COPY_DATA = b"Q", b"P", b"d"


@dataclass(frozen=True)
class Moment:
    """A message of a kind that holds `text`, on a connection that has sent `after`."""

    kind: bytes
    text: bytes = b""
    after: bytes = b""


STAGE_COPY = Moment(COPY_DATA, after=b'"stage"')
RAW_COPY = Moment(COPY_DATA, after=b"COPY stage.")
PUBLISH_BEGIN = Moment(PARSE, b"pg_advisory_xact_lock")
PUBLISH_COMMIT = Moment(QUERY, b"COMMIT", after=b"SET status = 'RECONCILED'")


@dataclass
class PostgresProxy:
    """Where to connect, and what happens once a moment has come."""

    conninfo: str
    server: str
    listener: socket.socket
    moment: Moment | None = None
    action: Callable[[], object] | None = None
    cut: str = ""
    came: threading.Event = field(default_factory=threading.Event)
    open: list[socket.socket] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def act(self, moment: Moment, action: Callable[[], object]) -> None:
        """At a moment do something, then let the message pass."""
        self.moment, self.action, self.cut = moment, action, ""

    def cut_before(self, moment: Moment) -> None:
        """The message never reaches the server."""
        self.moment, self.action, self.cut = moment, None, "before"

    def cut_after(
        self, moment: Moment, action: Callable[[], object] | None = None
    ) -> None:
        """The server carries out the message; its reply never reaches the client."""
        self.moment, self.action, self.cut = moment, action, "after"

    def refuse(self) -> None:
        """From now on nobody listens; what is connected stays so."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def has_come(self, kind: bytes, body: bytes, sent: bytes) -> bool:
        with self.lock:
            moment = self.moment
            fits = (
                moment is not None
                and moment.kind == kind
                and moment.text in body
                and moment.after in sent
            )
            if fits:
                self.moment = None
        return fits


@contextmanager
def faulty_postgres(conninfo: str) -> Iterator[PostgresProxy]:
    """A proxy on TCP before a server on a Unix socket."""
    parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    upstream = f"{parts.pop('host')}/.s.PGSQL.{parts.pop('port')}"
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    address = make_conninfo(
        "",
        **parts,
        host="127.0.0.1",
        port=listener.getsockname()[1],
        sslmode="disable",
        gssencmode="disable",
    )
    proxy = PostgresProxy(address, upstream, listener)
    over = threading.Event()
    thread = threading.Thread(target=_accept, args=(proxy, over))
    thread.start()
    try:
        yield proxy
    finally:
        over.set()
        thread.join()
        listener.close()
        for each in proxy.open:
            each.close()


def _accept(proxy: PostgresProxy, over: threading.Event) -> None:
    threads: list[threading.Thread] = []
    while not over.is_set():
        try:
            client, _ = proxy.listener.accept()
        except TimeoutError:
            continue
        except OSError:  # refused from now on
            break
        server = socket.socket(socket.AF_UNIX)
        server.connect(proxy.server)
        client.settimeout(None)
        proxy.open += [client, server]
        link = _Link(proxy, client, server)
        threads += [
            threading.Thread(target=link.to_server),
            threading.Thread(target=link.to_client),
        ]
        for thread in threads[-2:]:
            thread.start()
    over.wait()
    for each in proxy.open:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


@dataclass
class _Link:
    """One connection through the proxy."""

    proxy: PostgresProxy
    client: socket.socket
    server: socket.socket
    sent: bytearray = field(default_factory=bytearray)
    mute: bool = False

    def to_server(self) -> None:
        with suppress(OSError, EOFError):
            self.server.sendall(self._untyped())
            while True:
                kind, body = self._typed()
                if not self._passes(kind, body):
                    break
        self.break_off()

    def _untyped(self) -> bytes:
        head = self._exactly(4)
        return head + self._exactly(struct.unpack("!I", head)[0] - 4)

    def _typed(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        return head[:1], head[1:] + self._exactly(struct.unpack("!I", head[1:])[0] - 4)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            if not (part := self.client.recv(count - len(parts))):
                raise EOFError
            parts += part
        return bytes(parts)

    def _passes(self, kind: bytes, body: bytes) -> bool:
        """Send a message on; False once the connection is to be cut."""
        proxy = self.proxy
        if proxy.has_come(kind, body, bytes(self.sent)):
            self.mute = proxy.cut == "after"
            if proxy.action is not None:
                proxy.action()
            proxy.came.set()
            if proxy.cut == "before":
                return False
        if kind in (QUERY, PARSE):
            self.sent += body
        self.server.sendall(kind + body)
        return True

    def to_client(self) -> None:
        with suppress(OSError):
            while data := self.server.recv(1 << 16):
                if self.mute:
                    break
                self.client.sendall(data)
        self.break_off()

    def break_off(self) -> None:
        """Both ends learn that the connection is gone."""
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
