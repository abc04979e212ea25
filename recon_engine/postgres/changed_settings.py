"""Say which settings of a dataset changed since its last result: names, no values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from recon_engine.config import Options
from recon_engine.model import SIDES
from recon_engine.options import OPTIONS, SIDED
from recon_engine.postgres.connection import translate_database_errors


if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    import psycopg

    from recon_engine.model import Breaks


RULES: Final = "rules"
SIDED_RULES: Final = tuple(f"{side}.{RULES}" for side in SIDES)
# The configurations of a run with a result and of the one before, latest first.
CONFIGS: Final = """
SELECT r.config
FROM metrics.recon_summary s JOIN metrics.pipeline_run_log r USING (run_id)
    JOIN metrics.recon_summary of_run ON of_run.run_id = %s
WHERE s.dataset = of_run.dataset
    AND (s.created_ts, s.run_id) <= (of_run.created_ts, of_run.run_id)
ORDER BY s.created_ts DESC, s.run_id DESC LIMIT 2
"""


def list_changed_settings(
    connection: psycopg.Connection, run_id: UUID, breaks: Breaks | None = None
) -> list[str]:
    """The settings that a run has and the result before it had not, as in recon.toml.

    Empty for the first result of a dataset. A setting of one side is `old.trailer`.
    `breaks`: if their line says that rules changed, rules are left out.
    """
    said = RULES if breaks is not None and breaks.rules_changed else None
    with translate_database_errors():
        configs = [config for (config,) in connection.execute(CONFIGS, [run_id])]
    if len(configs) < len(("this", "before")) or not all(configs):
        return []
    # With the contents of code tables, if both runs recorded them.
    by_content = all(RULES in config for config in configs)
    now, before = (
        dict(_list_settings(each, by_content=by_content)) for each in configs
    )
    changed = [
        name
        for name in dict.fromkeys((*now, *before))
        if now.get(name) != before.get(name) and name.rpartition(".")[2] != said
    ]
    return [*dict.fromkeys(_name_both(name, changed) for name in changed)]


def _list_settings(
    config: dict[str, Any], *, by_content: bool
) -> Iterator[tuple[str, object]]:
    """The recorded settings that decide a result, by their names in recon.toml.

    None for one that is empty or absent: a version may have recorded neither.
    """
    yield "feed", config.get("feed")
    options = config.get("options", {})
    for option in OPTIONS.values():
        if option.sets is Options:
            yield str(option.in_file), options.get(option.field) or None
    for side in SIDES:
        for option in SIDED:
            value = options.get(side, {}).get(option.field)
            yield f"{side}.{option.in_file}", value
    if by_content:
        yield from zip((RULES, *SIDED_RULES), config[RULES], strict=True)


def _name_both(name: str, changed: list[str]) -> str:
    """The name without its side if the setting changed for both."""
    side, _, own = name.partition(".")
    if side in SIDES and all(f"{each}.{own}" in changed for each in SIDES):
        return own
    return name
