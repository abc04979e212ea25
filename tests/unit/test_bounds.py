"""Whatever a user writes has a bound, and beyond it is a usage error: never a crash.

Formats of dates are tried before a byte is read, and no library's warning is shown.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from support.program import recon

import recon_engine as rx
from recon_engine.config import Limits, Options, RunConfig
from recon_engine.config_file import load_configuration
from recon_engine.errors import ConfigError
from recon_engine.gate_syntax import parse_gate
from recon_engine.model import Suppressible, Suppression
from recon_engine.postgres.history import _load_options
from recon_engine.rules.assembly import chain_of
from recon_engine.rules.chains import equal_and_counted
from recon_engine.rules.spelling import parse_rule
from recon_engine.runtime.memory import parse_budget
from recon_engine.spark.settings import SparkSettings


if TYPE_CHECKING:
    from pathlib import Path

LONG = "9" * 5_000
FORMATS = [
    "%H",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Q",
    "%f",
    "%Y.%f",
    "%",
    "%Y-%m-%d%",
    "%Y",
    "%Y-%m",
    "%m%d",
    "%s",
    "%Y-%m-%d|%T",
    "%é%Y%m%d",
]
USABLE = [
    "%Y%m%d",
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%-m/%-d/%Y",
    "%d%b%Y",
    "%e %B %Y",
    "%Y%j",
    "%G-W%V-%u",
    "%y%m%d,pivot=30",
    "%F",
    "%Y-%m-%d 00:00:00",
    "%Y-%m-%d%%",
]


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_that_cannot_be_used_is_refused_in_python_before_a_byte_is_read(
    form: str,
) -> None:
    with pytest.raises(ConfigError, match="rule date: ") as caught:
        rx.diff("not there", "either", keys="id", rules={"v": f"date({form})"})
    assert caught.value.help


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_that_cannot_be_used_is_refused_in_a_file(
    tmp_path: Path, form: str
) -> None:
    (tmp_path / "recon.toml").write_text(f'[rules]\nv = "date({form})"\n')
    with pytest.raises(ConfigError, match="rule date: "):
        load_configuration(tmp_path / "recon.toml")


@pytest.mark.parametrize("form", USABLE)
def test_a_format_that_can_be_used_is_accepted(form: str) -> None:
    parse_rule(f"date({form})")


@pytest.mark.parametrize("form", ["%H", "%f", "%Y.%f"])
def test_the_command_line_refuses_it_with_one_error(tmp_path: Path, form: str) -> None:
    rule = f"v=date({form})"
    ended = recon("diff", "no.csv", "no.csv", "-k", "id", "--rule", rule, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error[USAGE_ERROR]: rule date: ")
    assert "arning" not in ended.stderr


def refused(work: Any, *given: Any, **asked: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        work(*given, **asked)
    assert caught.value.help
    return caught.value


@pytest.mark.parametrize(
    "gate", [f"missing<={LONG}", f"missing<=0.{LONG}", f"mismatch_rate<={LONG}%"]
)
def test_a_number_of_a_gate_has_a_bound(gate: str) -> None:
    refused(parse_gate, gate)
    refused(rx.diff, "not there", "either", keys="id", gates=gate)


@pytest.mark.parametrize(
    "rule",
    ["decimal(abs=1e999999)", "decimal(abs=1e-999999)", "decimal(rel=1E+10001)",
     f"decimal(abs={LONG}{LONG}9)", "decimal(abs=1e999999999999999999999)",
     f"zeropad({LONG})", f"date(%Y%m%d,within={LONG}d)"],
)  # fmt: skip
def test_an_argument_of_a_rule_has_a_bound(rule: str) -> None:
    refused(parse_rule, rule)


def test_a_column_has_so_many_rules_and_as_many_work() -> None:
    refused(Options, keys=("id",), rules={"v": ("trim",) * 101})
    chain = chain_of(*["trim"] * 99, "decimal")
    same, tally = equal_and_counted(chain, pl.Series(["1.0"]), pl.Series(["1"]))
    assert same.all()
    assert tally[:, 4].sum() == 1


@pytest.mark.parametrize("size", [LONG, f"{LONG}T", "0", "0.1", "2000000TiB", "٣GiB"])
def test_a_size_has_bounds(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    refused(parse_budget, size)
    for name in ("SPAN_BYTES", "BUCKET_BYTES", "BUCKET_LIMIT"):
        with monkeypatch.context() as patch:
            patch.setenv(f"RECON_SPARK_{name}", size)
            assert (
                f"RECON_SPARK_{name}" in refused(SparkSettings.from_environment).message
            )


@pytest.mark.parametrize("count", [-1, 10**16, int("9" * 4_000)])
def test_a_count_has_bounds(count: int) -> None:
    refused(Options, keys=("id",), detail_limit=count)
    places = {"inbound": "i", "processed": "p", "out": "o", "database": ""}
    options = Options(keys=("id",))
    refused(RunConfig, dataset="d", options=options, break_limit=count, **places)
    for name in ("field_bytes", "field_lines", "ratio"):
        refused(Limits, **{name: count})
    known = Suppression(
        what=Suppressible.MISSING, reason="r", owner="o", max=count,
        until=date(2030, 1, 1),
    )  # fmt: skip
    refused(Options, keys=("id",), suppressions=(known,))


def test_the_largest_counts_work(tmp_path: Path) -> None:
    for name in ("old.csv", "new.csv"):
        (tmp_path / name).write_text(f"id,v\n1,{name}\n")
    most = "1000000000000000"
    ended = recon(
        "diff", "old.csv", "new.csv", "-k", "id", "--detail-limit", most,
        "--max-field-bytes", most, "--max-field-lines", most, "--max-ratio", most,
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "DIFFER" in ended.stdout


@pytest.mark.parametrize(
    "text",
    [f"detail_limit = {LONG}", "detail_limit = 99999999999999999999",
     "break_limit = 99999999999999999999", "max_ratio = 99999999999999999999",
     f"keys = {'[' * 50_000}", f"keys = {'[' * 50_000}{']' * 50_000}",
     f'memory_budget = "{LONG}"', f'gates = "missing<={LONG}"',
     '[rules]\nv = "decimal(abs=1e999999)"'],
)  # fmt: skip
def test_a_file_has_bounds(tmp_path: Path, text: str) -> None:
    (tmp_path / "recon.toml").write_text(text + "\n")
    refused(load_configuration, tmp_path / "recon.toml")


@pytest.mark.parametrize(
    "variables",
    [{"PGHOST": "localhost", "PGPORT": port} for port in ("abc", "0", "99999", LONG)]
    + [{"RECON_DATABASE_URL": f"postgresql://localhost:{p}/x"} for p in (65536, LONG)],
)
def test_a_port_has_bounds(tmp_path: Path, variables: dict[str, str]) -> None:
    ended = recon("history", "--dataset", "d", cwd=tmp_path, **variables)
    assert ended.returncode == 2
    assert "port" in ended.stderr


def test_a_key_as_deep_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("id,part,v\n1,2,a\n")
    for key in ("[" * 100_000, f"[{LONG}, 1]"):
        ended = recon("explain", "f.csv", "f.csv", key, "-k", "id,part", cwd=tmp_path)
        assert ended.returncode == 2


def test_options_of_a_stored_run_that_are_refused_today_are_left_out() -> None:
    kept = {"keys": ["id"], "rules": {"v": ["date(%H)"]}, "gates": []}
    assert _load_options(kept) is None
    assert _load_options(kept | {"rules": {}}) == Options(keys=("id",))
