"""A proxy before an S3 server that breaks chosen requests in chosen ways."""

from __future__ import annotations

import http.client
import math
import socket
import struct
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Effect = Callable[["Exchange"], None]

ALWAYS = math.inf
FOREIGN = "foreign words of the server"
_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}


@dataclass
class Fault:
    """What happens to the requests of one operation, the next `times` of them.

    `key` is the end of the key or prefix; `skip` requests pass before the first.
    """

    operation: str
    effect: Effect
    key: str = ""
    times: float = 1
    skip: int = 0
    met: bool = False

    def meets(self, operation: str, key: str) -> bool:
        if self.operation != operation or not key.endswith(self.key) or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        self.met = True
        return True


@dataclass
class Faults:
    """What is to go wrong, for all requests."""

    upstream: str
    planned: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def plan(self, *faults: Fault) -> None:
        with self.lock:
            self.planned[:] = faults

    def effect_on(self, operation: str, key: str) -> Effect:
        with self.lock:
            met = [fault for fault in self.planned if fault.meets(operation, key)]
        return met[0].effect if met else pass_on

    @property
    def left(self) -> list[Fault]:
        """Faults that no request has met: a test with one has tested nothing."""
        return [
            fault
            for fault in self.planned
            if not fault.met or fault.times not in (0, ALWAYS)
        ]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request, and what a fault can do with it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    faults: Faults

    def log_message(self, *_: object) -> None:
        pass

    def pass_or_break(self) -> None:
        self.content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        key = query.get("prefix", [unquote(url.path)])[0]
        operation = _operation(self.command, set(query), dict(self.headers))
        self.faults.effect_on(operation, key)(self)

    do_GET = do_HEAD = do_PUT = do_DELETE = pass_or_break  # noqa: N815

    def forward(self) -> Reply:
        """What S3 says; the request reaches it as it was signed."""
        host = self.faults.upstream.removeprefix("http://")
        with closing(http.client.HTTPConnection(host, timeout=30)) as upstream:
            upstream.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    upstream.putheader(name, value)
            upstream.endheaders(self.content)
            answer = upstream.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())

    def answer(self, reply: Reply, upto: int | None = None) -> None:
        """Send a reply, or the beginning of one that promised more."""
        self.send_response(reply.status)
        length = str(len(reply.body))
        for name, value in reply.headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in {"content-length", *_HOP_BY_HOP}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(reply.body if upto is None else reply.body[:upto])
        self.wfile.flush()

    def reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def end(self) -> None:
        self.close_connection = True


def _operation(method: str, query: set[str], headers: dict[str, str]) -> str:
    """The name of the few operations that a run asks for."""
    if method == "GET":
        return "ListObjectsV2" if "list-type" in query else "GetObject"
    if method == "PUT" and any(n.lower() == "x-amz-copy-source" for n in headers):
        return "CopyObject"
    return {"HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[method]


# --- effects


def pass_on(exchange: Exchange) -> None:
    exchange.answer(exchange.forward())


def refuse(status: int, code: str) -> Effect:
    """An answer in the place of S3's."""
    body = f"<Error><Code>{code}</Code><Message>{FOREIGN}</Message></Error>".encode()

    def effect(exchange: Exchange) -> None:
        sent = body if exchange.command != "HEAD" else b""
        exchange.answer(Reply(status, [("Content-Type", "application/xml")], sent))

    return effect


def foreign_page(exchange: Exchange) -> None:
    """What a captive portal, or a proxy that lost its upstream, says."""
    page = f"<!doctype html><p>{FOREIGN}".encode()
    exchange.answer(Reply(200, [("Content-Type", "text/html")], page))


def reset(exchange: Exchange) -> None:
    """The request never arrives."""
    exchange.reset()


def lose_reply(exchange: Exchange) -> None:
    """The request is carried out, and nobody hears of it."""
    exchange.forward()
    exchange.reset()


def reset_body(exchange: Exchange) -> None:
    reply = exchange.forward()
    exchange.answer(reply, upto=len(reply.body) // 2)
    exchange.reset()


def end_body(exchange: Exchange) -> None:
    """A body shorter than its length, without an error on the socket."""
    reply = exchange.forward()
    exchange.answer(reply, upto=len(reply.body) // 2)
    exchange.end()


def stall(exchange: Exchange) -> None:
    """No byte of an answer, until the test is over."""
    exchange.faults.over.wait(60)
    exchange.reset()


def stall_body(exchange: Exchange) -> None:
    reply = exchange.forward()
    exchange.answer(reply, upto=len(reply.body) // 2)
    exchange.faults.over.wait(60)
    exchange.reset()


def first(action: Callable[[], object]) -> Effect:
    """Something happens just before the request arrives."""

    def effect(exchange: Exchange) -> None:
        action()
        pass_on(exchange)

    return effect


# --- the proxy


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has gone away is what these tests are about."""


@contextmanager
def faulty_s3(upstream: str) -> Iterator[tuple[str, Faults]]:
    """The endpoint of the proxy, and what decides over its requests."""
    faults = Faults(upstream)
    handler = type("Handler", (Exchange,), {"faults": faults})
    server = _Proxy(("127.0.0.1", 0), handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        faults.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
