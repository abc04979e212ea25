"""What an unattended run says while it works."""

from __future__ import annotations

import json
import logging
import sys
import threading

import pytest
from recon_cli.logs import JsonLines, LoggedSteps


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="recon")
    return caplog


def parsed(lines: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [json.loads(JsonLines().format(record)) for record in lines.records]


def test_a_step_is_logged_with_what_it_did(lines: pytest.LogCaptureFixture) -> None:
    with LoggedSteps() as steps:
        steps.bind(run_id="r1", dataset="claims")
        with steps.step("read old", total=10, unit="bytes") as advance:
            advance(4)
            advance(6)
    began, ended = parsed(lines)
    assert (began["event"], ended["event"]) == ("step_started", "step_ended")
    assert (ended["run_id"], ended["step"], ended["bytes"]) == ("r1", "read old", 10)


def test_a_step_that_fails_is_logged_as_failed(lines: pytest.LogCaptureFixture) -> None:
    failing = pytest.raises(ValueError, match="cell")
    with LoggedSteps() as steps, failing, steps.step("compare"):
        raise ValueError("a cell")
    assert parsed(lines)[-1]["event"] == "step_failed"
    assert "a cell" not in str(parsed(lines))


def test_a_long_step_gives_signs_of_life(lines: pytest.LogCaptureFixture) -> None:
    heard = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "heartbeat":
                heard.set()

    listener = Listener()
    logging.getLogger("recon").addHandler(listener)
    try:
        with (
            LoggedSteps(heartbeat_seconds=0.01) as steps,
            steps.step("stage old", total=9) as go,
        ):
            go(5)
            assert heard.wait(10)
    finally:
        logging.getLogger("recon").removeHandler(listener)
    beat = next(line for line in parsed(lines) if line["event"] == "heartbeat")
    assert (beat["step"], beat["rows"]) == ("stage old", 5)
    assert int(str(beat["peak_rss_bytes"])) > 0


def test_an_exception_is_named_and_never_quoted() -> None:
    try:
        raise ValueError("SECRET")  # noqa: TRY301 - it is what is tested
    except ValueError:
        record = logging.getLogger("recon").makeRecord(
            "recon", logging.ERROR, "f", 1, "failed", (), sys.exc_info()
        )
    line = json.loads(JsonLines().format(record))
    assert line["exception"] == "ValueError"
    assert "SECRET" not in str(line)


def test_a_library_is_named_and_never_quoted() -> None:
    record = logging.getLogger("psycopg").makeRecord(
        "psycopg", logging.WARNING, "f", 1, "Key (id)=(%s)", ("SECRET",), None
    )
    line = json.loads(JsonLines().format(record))
    assert (line["event"], line["logger"]) == ("library_log", "psycopg")
    assert "SECRET" not in str(line)
