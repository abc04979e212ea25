"""The place of each row, as the tables record it."""

from __future__ import annotations

from support.sites import OLD, FolderSite

from recon_engine.config import OnBadRow, Options, SideOptions
from recon_engine.postgres import history
from recon_engine.postgres.connection import open_connection


# 2 is rejected, 3 is left out in NEW, 4 is unpairable in OLD: its PAID is no number.
BAD = b"ID,PAID,NOTE\n1,10,a\n2,20,b,c\n3,1,c\n"
OPTIONS = Options(
    keys=("ID",),
    rules={"PAID": ("decimal",)},
    on_bad_row=OnBadRow.QUARANTINE,
    where="PAID > 5",
    new=SideOptions(where="ID != 3"),
)


def test_the_tables_hold_the_place_of_each_row(site: FolderSite) -> None:
    site.deliver(OLD.replace(b"40.00", b"none"), BAD)
    outcome = site.run(options=OPTIONS)
    live = outcome.result
    assert live is not None
    assert live.headline() == (
        "DIFFER: 1 missing, 1 rejected, 1 unpairable (1 left out, 1 partner left out)"
    )
    assert live.warnings()[0] == "1 missing may be among 1 rejected of new"
    with open_connection(site.database) as connection:
        kept, _ = history.load_result(connection, outcome.record.run_id)
        [run] = history.list_runs(connection, "claims", 1)
        breaks = connection.execute(
            "SELECT key_text, kind, uncertain FROM metrics.break"
        ).fetchall()
        [places] = connection.execute(
            "SELECT rows_old, matched, missing, left_out_old, partner_left_out_old,"
            " unpairable_old, rows_new, rejected_new, left_out_new"
            " FROM metrics.recon_summary"
        ).fetchall()
    assert (kept.old, kept.new) == (live.old, live.new)
    assert (kept.headline(), kept.applied) == (live.headline(), live.applied)
    assert run.result is not None
    assert run.result.passed is live.passes is False
    assert breaks == [("2", "missing", True)]
    assert places == (4, 1, 1, 0, 1, 1, 3, 1, 1)
    written = {name.rpartition("/")[2] for name in site.names(site.out)}
    assert {"unpairable.csv", "rejects.csv"} <= written
