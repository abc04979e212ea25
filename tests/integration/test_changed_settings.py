"""The line that names the settings that changed since the last result."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from recon_engine.config import Feed, Options, SideOptions
from recon_engine.model import Suppressible, Suppression
from recon_engine.postgres.changed_settings import list_changed_settings
from recon_engine.postgres.connection import open_connection


if TYPE_CHECKING:
    from support.sites import FolderSite


PLAIN = Options(keys=("ID",))
OLD = "ID,PAID,NOTE\n1,10.00,a\n2,20.00,b\nTRL,2\n"
NEW = "ID,PAID,NOTE\n1,10,a\n2,20.00,b\nTRL,2\n"
WITH_TRAILER = replace(
    PLAIN, old=SideOptions(trailers=("TRL",)), new=SideOptions(trailers=("TRL",))
)


def changed_after(
    site: FolderSite, day: int, options: Options, new: str = NEW, **run: Any
) -> list[str]:
    site.deliver(OLD.encode(), new.encode(), f"2026112{day}")
    outcome = site.run(options=options, **run)
    assert outcome.error is None
    with open_connection(site.database) as connection:
        return list_changed_settings(connection, outcome.record.run_id, outcome.breaks)


def test_the_settings_that_changed_are_named_without_values(site: FolderSite) -> None:
    accepted = Suppression(
        what=Suppressible.MISSING, reason="r", owner="o", until=date(2099, 1, 1)
    )
    counting = replace(WITH_TRAILER.new, trailer_counts=("2",))
    marked = replace(WITH_TRAILER.old, eof_mark=True)
    others = replace(
        WITH_TRAILER,
        ignore=("NOTE",),
        gates=("missing<=0",),
        suppressions=(accepted,),
        old=replace(marked, trailer_counts=("2",)),
        new=marked,
    )
    assert changed_after(site, 1, WITH_TRAILER) == []
    assert changed_after(site, 2, WITH_TRAILER) == []
    of_one_side = changed_after(site, 3, replace(WITH_TRAILER, new=counting))
    assert of_one_side == ["new.trailer_count"]
    # Both sides changed, in other directions too.
    assert sorted(changed_after(site, 4, others)) == [
        *("eof_mark", "gates", "ignore", "suppress", "trailer_count"),
    ]


def test_rules_are_named_unless_the_line_of_breaks_says_it(site: FolderSite) -> None:
    assert changed_after(site, 1, WITH_TRAILER) == []
    ruled = replace(WITH_TRAILER, rules={"PAID": ("decimal",)})
    assert changed_after(site, 2, ruled) == []
    assert changed_after(site, 3, ruled, feed=Feed.FULL) == ["feed"]
    assert changed_after(site, 4, WITH_TRAILER, break_limit=0) == ["feed", "rules"]
    of_old = replace(WITH_TRAILER.old, rules={"PAID": ("decimal",)})
    assert changed_after(site, 5, replace(WITH_TRAILER, old=of_old)) == []
    # Of a pair that is compared again, the line of breaks compares with another pair.
    assert changed_after(site, 5, ruled) == ["rules", "old.rules"]
    others = replace(WITH_TRAILER, keys=("ID", "NOTE"))
    assert sorted(changed_after(site, 6, others)) == ["keys", "rules"]


def test_a_code_table_is_a_rule_by_its_content(
    site: FolderSite, tmp_path: Path
) -> None:
    def changed(day: int, entry: str, name: str = "a") -> list[str]:
        (tmp_path / name).write_text(f"CODE,IS\n{entry}\n")
        rule = f"map(@{tmp_path / name},rest=same)"
        ruled = replace(WITH_TRAILER, rules={"PAID": (rule,)})
        return changed_after(site, day, ruled, break_limit=0)

    assert changed(1, "10,10.00") == []
    assert changed(2, "10,10.00", "b") == []
    assert changed(3, "10,11.00") == ["rules"]


def test_a_run_without_a_result_is_no_run_to_compare_with(site: FolderSite) -> None:
    assert changed_after(site, 1, WITH_TRAILER) == []
    counting = replace(
        WITH_TRAILER, new=replace(WITH_TRAILER.new, trailer_counts=("2",))
    )
    site.deliver(OLD.encode(), NEW.replace("TRL,2", "TRL,3").encode(), "20261122")
    assert site.run(options=counting).error is not None
    for path in Path(site.inbound).iterdir():
        path.unlink()
    assert changed_after(site, 3, WITH_TRAILER) == []


def test_a_run_whose_configuration_is_not_recorded_names_nothing(
    site: FolderSite,
) -> None:
    changed_after(site, 1, WITH_TRAILER)
    with psycopg.connect(site.database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE metrics.pipeline_run_log SET config = '{}'")
    assert changed_after(site, 2, replace(WITH_TRAILER, ignore=("NOTE",))) == []
