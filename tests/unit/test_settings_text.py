"""The settings that a page shows: recon.toml reads them as they were."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime
from html import unescape
from typing import TYPE_CHECKING

import pytest
from support.program import recon

from recon_engine.config import Options, SideOptions
from recon_engine.config_file import load_configuration
from recon_engine.model import Suppressible, Suppression
from recon_engine.settings_text import write_options


if TYPE_CHECKING:
    from pathlib import Path


CELLS = Suppression(
    what=Suppressible.COLUMN,
    column="PAID AMT",
    kind="blank_to_value",
    keys=(("1", "a"), ("2", 'b"\n')),
    new=" later",
    max=9,
    reason="agreed: \\ it is so",
    owner="claims",
    until=date(2099, 12, 31),
)
ROWS = Suppression(
    what=Suppressible.EXTRA, reason="r", owner="o", until=date(2099, 1, 2)
)


@pytest.mark.parametrize("name", [" ID", "ID ", '"A"', 'A"B', '"', " ", "A\x85"])
def test_a_name_is_read_back_with_its_spaces_and_quotes(
    tmp_path: Path, name: str
) -> None:
    options = Options(
        keys=(name, "K"),
        ignore=(f"{name}1",),
        renames={f"{name}2": f"{name}3"},
        rules={name: ("trim",), f"{name}4": ("decimal", "trim")},
        masks={f"{name}5": "hmac"},
        suppressions=(replace(CELLS, column=name),),
        old=SideOptions(rules={name: ("trim",)}),
    )
    path = tmp_path / "recon.toml"
    path.write_text(write_options(options), encoding="utf-8")
    found = load_configuration(path).settings
    for field in ("keys", "ignore", "rules", "masks", "suppressions"):
        assert found[field] == getattr(options, field), field
    assert found["map"] == options.renames
    assert found["old_rules"] == options.old.rules


def test_settings_are_read_back(tmp_path: Path) -> None:
    options = Options(
        keys=("ID", "LINE, no"),
        # So long that each takes a line.
        ignore=(
            "X\u202eY",
            "Z\u2028Q",
            *(f"COLUMN OF A LONG NAME {n}" for n in range(9)),
        ),
        renames={"A": "B"},
        rules={"*": ("trim",), "PAID AMT": ("decimal(abs=0.01)", "nulls(NA)")},
        gates=("missing<=0",),
        where="A != 'b'",
        detail_limit=0,
        suppressions=(
            CELLS,
            replace(CELLS, kind=("text", "case")),
            replace(CELLS, keys=tuple((str(n), "\x85 \n") for n in range(30))),
            ROWS,
        ),
        old=SideOptions(skip_lines=3),
    )
    for dataset in (None, "claims"):
        path = tmp_path / "recon.toml"
        text = write_options(options, dataset)
        assert text.isascii()
        path.write_text(text, encoding="utf-8")
        found = load_configuration(path, dataset).settings
        names = ("keys", "ignore", "rules", "gates", "where", "suppressions")
        for name in (*names, "detail_limit"):
            assert found[name] == getattr(options, name), name
        assert (found["map"], found["old_skip_lines"]) == ({"A": "B"}, 3)
        assert len(found) == 9
    assert write_options(Options(keys=("ID",))) == 'keys = ["ID"]\n'


def test_the_page_and_the_workbook_have_the_settings_to_copy(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("ID;A\n1;x\n2;y\n")
    (tmp_path / "n.csv").write_text("ID;A\n1;z\n2;Y\n")
    given = (
        'keys = "ID"\ndelimiter = ";"\ngates = ["missing<=0"]\n'
        '[rules]\nA = "casefold"\n'
        '[[suppress]]\nwhat = "column"\ncolumn = "A"\nnew = "z"\n'
        'reason = "r"\nowner = "o"\nuntil = 2099-12-31\n'
    )
    (tmp_path / "recon.toml").write_text(given)
    asked = ("diff", "o.csv", "n.csv", "-f", "json", "-o", "r.html")
    days = {datetime.now(UTC).date()}
    first = recon(*asked, cwd=tmp_path)
    days.add(datetime.now(UTC).date())
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    # What is accepted depends on the day.
    assert any(f"<small>· {day}</small></h1>" in page for day in days)
    found = re.search(r'<pre id="settings">(.*?)</pre>', page, re.DOTALL)
    assert found
    (tmp_path / "recon.toml").write_text(unescape(found[1]), encoding="utf-8")
    assert (
        tomllib.loads(given)["suppress"]
        == tomllib.loads(unescape(found[1]))["suppress"]
    )
    again = recon(*asked, cwd=tmp_path)
    results = [json.loads(each.stdout) for each in (first, again)]
    for each in results:
        del each["engine"]
    assert results[0] == results[1]
    assert results[0]["counts"]["tolerated_cells"] == 1
    assert [each["state"] for each in results[0]["suppressed"]] == ["active"]


def test_with_masks_no_settings_are_shown(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("ID,A\n1,secret\n")
    (tmp_path / "n.csv").write_text("ID,A\n1,x\n")
    asked = ("-k", "ID", "--mask", "A=redact", "-o", "r.html")
    recon("diff", "o.csv", "n.csv", *asked, cwd=tmp_path)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'id="settings"' not in page
    assert "secret" not in page
