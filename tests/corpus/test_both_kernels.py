"""The native kernel and NumPy give one answer, or one error, byte for byte."""

from __future__ import annotations

import json
import random
import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import csv_bytes, edited, pairs

import recon_engine as rx
from recon_engine.compare import groups, key_search
from recon_engine.compare import pairs as pairs_module
from recon_engine.compare.explain import explain_key
from recon_engine.compare.key_search import propose_keys
from recon_engine.config import NO_KEY, Options
from recon_engine.errors import InternalError, ReconError
from recon_engine.inputs import scanning
from recon_engine.inputs.native import binding
from recon_engine.runtime import memory


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.strategies import Pair


pytestmark = pytest.mark.skipif(
    binding.load_library() is None,
    reason="the kernel is not built, or RECON_NATIVE is 0",
)
CORPUS: Final = Path(__file__).parent
CHANGING: Final = ("seconds", "peak_rss_bytes", "kernel")
RULES: Final = ("trim", "casefold", "decimal", "lstrip0")


def said(
    patch: pytest.MonkeyPatch,
    native: bool,  # noqa: FBT001
    paths: Sequence[Path],
    **options: Any,
) -> tuple[str, str | None]:
    """The result or the error as JSON, and the kernel that has read the files."""
    with patch.context() as here:
        if not native:
            here.setattr(binding, "load_library", lambda: None)
        try:
            result = rx.diff(*paths, **options)
        except ReconError as error:
            assert not isinstance(error, InternalError)  # noqa: PT017
            return json.dumps(
                [type(error).__name__, str(error), vars(error)], default=str
            ), None
    document = json.loads(result.to_json())
    engine = document["engine"]
    kernel = engine["kernel"]
    for fact in CHANGING:
        engine.pop(fact)
    frames = [
        result.missing().write_ndjson(),
        result.extra().write_ndjson(),
        result.mismatches().write_ndjson(),
    ]
    return json.dumps([document, frames], ensure_ascii=False), kernel


def assert_the_same(
    patch: pytest.MonkeyPatch, paths: Sequence[Path], **options: Any
) -> str | None:
    found, kernel = said(patch, True, paths, **options)
    expected, other = said(patch, False, paths, **options)
    assert found == expected
    assert other in {"numpy", None}
    return kernel


def key_of(path: Path, delimiter: str) -> str:
    """The first name of a header, as far as a test needs it."""
    raw = path.read_bytes()[:4096].removeprefix(b"\xef\xbb\xbf")
    name = raw.splitlines()[0].split(delimiter.encode())[0] if raw else b"id"
    return name.decode(errors="replace").strip('"') or "id"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    sorted(CORPUS.glob("*/*.csv")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_an_awkward_file_has_one_outcome(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    known = json.loads((path.parent / "expected.json").read_text())
    delimiter = known[path.stem].get("delimiter", ",")
    options = {"keys": key_of(path, delimiter), "delimiter": delimiter}
    found, _ = said(monkeypatch, True, (path, path), **options)
    other, _ = said(monkeypatch, False, (path, path), **options)
    assert found == other
    options["on_bad_row"] = "quarantine"
    if "rows" in known[path.stem]:
        # Without bad rows the policy changes nothing.
        assert said(monkeypatch, True, (path, path), **options)[0] == found
    else:
        assert_the_same(monkeypatch, (path, path), **options)


@given(pair=pairs(), data=st.data())
def test_a_pair_has_one_answer(tmp_path: Path, pair: Pair, data: st.DataObject) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, rows in zip(paths, (pair.old, pair.new), strict=True):
        raw, _ = data.draw(csv_bytes(pair.names, rows))
        path.write_bytes(raw)
    names = st.sampled_from([*pair.columns, "*"])
    rule = st.sampled_from(RULES)
    rules = data.draw(st.dictionaries(names, rule, max_size=2)) if pair.columns else {}
    duplicates = data.draw(st.sampled_from(["pair", "fail"]))
    ignore = (
        data.draw(st.lists(st.sampled_from(pair.columns), max_size=1, unique=True))
        if pair.columns
        else []
    )
    rules = {name: each for name, each in rules.items() if name not in ignore}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pairs_module, "GROUP_BYTES", data.draw(st.sampled_from([1, 60, 1 << 25]))
        )
        patch.setattr(scanning, "BLOCK", data.draw(st.sampled_from([1, 64, 1 << 18])))
        patch.setattr(
            scanning, "HASHED_BLOCK", data.draw(st.sampled_from([1, 64, 1 << 20]))
        )
        patch.setattr(
            scanning, "PARTITION_ROWS", data.draw(st.sampled_from([1, 1 << 13]))
        )
        patch.setattr(
            scanning, "INLINE_BYTES", data.draw(st.sampled_from([0, 1 << 22]))
        )
        if data.draw(st.booleans()):
            patch.setattr(secrets, "token_bytes", keys_collide)
        kernel = assert_the_same(
            patch,
            paths,
            keys=pair.keys,
            rules=rules,
            ignore=ignore,
            on_duplicate_keys=duplicates,
            sha256=data.draw(st.booleans()),
        )
    assert kernel in {"native", None} or "*" in rules


@given(pair=pairs(), data=st.data())
def test_folded_rows_have_one_answer(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, rows in zip(paths, (pair.old, pair.new), strict=True):
        # Keys with several rows, which are equal or almost.
        more = st.lists(st.sampled_from(rows or [()]), max_size=4 * bool(rows))
        raw, _ = data.draw(csv_bytes(pair.names, [*rows, *data.draw(more)]))
        path.write_bytes(raw)
    options: dict[str, Any] = {}
    for side in data.draw(st.sampled_from([("old",), ("new",), ("old", "new")])):
        options[f"{side}_fold"] = True
        if data.draw(st.booleans()) and pair.columns:
            options[f"{side}_sum"] = data.draw(st.sampled_from(pair.columns))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "BLOCK", data.draw(st.sampled_from([1, 64, 1 << 18])))
        patch.setattr(
            scanning, "PARTITION_ROWS", data.draw(st.sampled_from([1, 1 << 13]))
        )
        if data.draw(st.booleans()):
            patch.setattr(secrets, "token_bytes", keys_collide)
        assert_the_same(patch, paths, keys=pair.keys, **options)


def keys_collide(size: int) -> bytes:
    """Keys of hashes by which all keys of rows are one, and no other rows."""
    return random.Random(1).randbytes(size // 2) + bytes(size - size // 2)


@given(pair=pairs(), data=st.data())
def test_an_edited_file_has_one_outcome(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, rows in zip(paths, (pair.old, pair.new), strict=True):
        raw, _ = data.draw(csv_bytes(pair.names, rows))
        path.write_bytes(data.draw(edited(raw)))
    policy = data.draw(st.sampled_from(["fail", "quarantine"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "BLOCK", data.draw(st.sampled_from([1, 64, 1 << 18])))
        patch.setattr(
            scanning, "HASHED_BLOCK", data.draw(st.sampled_from([1, 64, 1 << 20]))
        )
        hashed = data.draw(st.booleans())
        assert_the_same(patch, paths, keys=pair.keys, on_bad_row=policy, sha256=hashed)


FORMS: Final = {
    "another order": b'v,id,w\r\nx,1,p\r\ny,2,q\r\n"z,",4,r\r\n',
    "more columns": b"x,v,id,w\n?,x,1,p\n!,y,3,q\n",
    "quoted": b'"id","v","w"\n"1","x","p"\n"2","""y""","q"\n',
    "no rows": b"id,v,w",
    "blank lines": b"id,v,w\n1,x,p\n\n\n",
    "newlines in fields": b'id,v,w\n1,"x\ny",p\n2,"a,b",q',
    "repeated keys": b"id,v,w\n1,x,p\n1,x,q\n1,x,p\n2,x,p\n,,\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("new", FORMS)
@pytest.mark.parametrize("old", FORMS)
def test_each_form_of_a_file_has_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, form in zip(paths, (old, new), strict=True):
        path.write_bytes(FORMS[form])
    for keys in ("id", ["id", "w"]):
        options: dict[str, Any] = {"keys": keys, "on_schema_drift": "compare"}
        assert assert_the_same(monkeypatch, paths, **options) == "native"


def test_repeated_keys_that_exceed_the_budget_are_left_to_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(FORMS["repeated keys"])
    native = rx.diff(path, path, keys="id")
    monkeypatch.setattr(memory, "KERNEL_ROW_BYTES", 1 << 60)
    numpy = rx.diff(path, path, keys="id")
    assert (native.engine.kernel, numpy.engine.kernel) == ("native", "numpy")
    assert native.counts == numpy.counts


def test_another_delimiter_on_one_side_has_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    paths[0].write_bytes(b'id,v\n"a,b","1;2"\nc,"x,y"\nd;,e\n')
    paths[1].write_bytes(b'id;v\na,b;"1;2"\nc;x,z\n"d;";e\n')
    options: dict[str, Any] = {"keys": "id", "delimiter": ",:;"}
    assert assert_the_same(monkeypatch, paths, **options) == "native"


@pytest.mark.slow
def test_samples_are_the_same_where_not_all_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(17)
    rows = [
        (
            f"{at:07}é" if at % 2 else f"k,{at}",
            chance.choice("AB"),
            chance.randrange(90),
        )
        for at in range(40_000)
    ]
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for side, path in enumerate(paths):
        lines = (
            f'"{key}",{kind},{amount + (side and kind == "B" and amount < 40)}.50\n'
            for key, kind, amount in rows
            if (amount + side) % 31
        )
        path.write_text("id,KIND,PAID\n" + "".join(lines))
    assert assert_the_same(monkeypatch, paths, keys="id") == "native"


@pytest.mark.parametrize("text", ["id,v\n1,a\n2\n", "id,v\n1,a\n\n2,b\n"])
def test_what_is_refused_by_one_is_refused_by_the_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    text: str,
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text)
    assert_the_same(monkeypatch, (path, path), keys="id")
    assert not caplog.records


def test_a_refusal_of_the_kernel_alone_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "f.csv"
    path.write_text("id,v\n1,a\n")
    monkeypatch.setattr(scanning.Scanning, "_read", lambda *_: binding.Status.REFUSED)
    assert rx.diff(path, path, keys="id").engine.kernel == "numpy"
    assert [record.message for record in caplog.records] == ["native_kernel_refused"]


@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        ({"rules": {"v": "trim"}}, "native"),
        ({"rules": {"id": "trim"}}, "native"),
        ({"where": "v=a"}, "native"),
        ({"derive": "w=slice(v,1)"}, "native"),
        ({"fold": True, "rules": {"v": "trim"}}, "native"),
        ({"fold": True, "rules": {"id": "trim"}}, "numpy"),
        ({"fold": True, "where": "v=a"}, "numpy"),
        ({"fold": True, "sum": "v", "rules": {"v": "scale(2)"}}, "numpy"),
        ({"fold": True, "sum": "v", "old_rules": {"v": "scale(2)"}}, "numpy"),
    ],
)
def test_what_is_read_in_many_ways_is_folded_by_numpy(
    tmp_path: Path, options: dict[str, Any], kernel: str
) -> None:
    path = tmp_path / "f.csv"
    path.write_text("id,v\n1,a\n")
    assert rx.diff(path, path, keys="id", **options).engine.kernel == kernel


def answers(
    patch: pytest.MonkeyPatch, paths: tuple[Path, Path], *, native: bool
) -> list[str]:
    """What `keys` and `explain` answer, or their errors."""
    options = Options(keys=("id",), rules={"v": ("trim",)})
    old, new = paths
    works: list[Callable[[], object]] = [
        partial(propose_keys, old, new, replace(options, keys=NO_KEY)),
        *(partial(explain_key, old, new, options, [value]) for value in "129"),
        *(partial(explain_key, old, new, options, [value]) for value in ("4", "")),
    ]
    found = []
    with patch.context() as here:
        if not native:
            here.setattr(binding, "load_library", lambda: None)
        for work in works:
            try:
                found.append(repr(work()))
            except ReconError as error:
                assert not isinstance(error, InternalError)  # noqa: PT017
                found.append(repr([type(error), str(error)]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"), list(zip(FORMS, [*FORMS][1:] + [*FORMS][:1], strict=True))
)
def test_keys_and_explanations_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, form in zip(paths, (old, new), strict=True):
        path.write_bytes(FORMS[form])
    found = answers(monkeypatch, paths, native=True)
    assert found == answers(monkeypatch, paths, native=False)


def test_a_key_is_counted_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    paths[0].write_text('id,no,v\n"a",1,x\n"b,",1,x\n,2,x\n')
    paths[1].write_text("v,no,id\nx,1,a\nx,2,c\nx,3,\n")
    with monkeypatch.context() as here:
        here.setattr(key_search._KeySide, "values", None)
        native = propose_keys(*paths)
    assert [(each.columns, each.matched, each.blanks_new) for each in native] == [
        (("id",), 2, 1)
    ]
    monkeypatch.setattr(binding, "load_library", lambda: None)
    assert propose_keys(*paths) == native


WRITTEN_NUMBERS: Final = st.one_of(
    st.sampled_from(
        [
            *("", " ", "x", "0", "-0", "007", "1.234,50", "1234.5", "1,234.50", "12-"),
            *("+1", "1234,5", "-,5", ".5", "5,", "12345", "1 234"),
            *("9" * 40, f"-{'9' * 40},5"),
        ]
    ),
    st.text("0123456789.,-", max_size=7),
)
WRITTEN_DAYS: Final = st.sampled_from(
    [
        *("", "x", "31.12.2024", "2024-12-31", "1.2.2024", "2024-02-01", "30.02.2024"),
        *("0999-01-01", "31.12.1969", "1969-12-31", "20241231", "2024-12-31 "),
    ]
)
NUMBER_RULES: Final[tuple[dict[str, Any], ...]] = (
    {"rules": "decimal"},
    {"rules": "decimal(comma)"},
    {"rules": "decimal(abs=0.5)"},
    {"rules": ("trim", "decimal")},
    {"old_rules": "decimal(comma)"},
    {"new_rules": "decimal(comma,trailing)"},
    {"old_rules": "scale(2)"},
    {"old_rules": "decimal(comma)", "new_rules": "scale(3)"},
    {"old_rules": "trim", "rules": "decimal"},
    {},
)
DAY_RULES: Final[tuple[dict[str, Any], ...]] = (
    {"rules": "date(%d.%m.%Y|%Y-%m-%d)"},
    {"rules": "date(%Y%m%d|eu|iso)"},
    {"old_rules": "date(eu)", "new_rules": "date(iso)"},
    {"rules": "date(eu|iso,within=1)"},
    {},
)
WRITTEN_ROWS: Final = st.lists(
    st.tuples(st.integers(0, 12), WRITTEN_NUMBERS, WRITTEN_DAYS, WRITTEN_NUMBERS),
    max_size=12,
    unique_by=lambda row: row[0],
)


@given(old=WRITTEN_ROWS, new=WRITTEN_ROWS, data=st.data())
def test_cells_that_rules_read_have_one_answer(
    tmp_path: Path,
    old: list[tuple[int, str, str, str]],
    new: list[tuple[int, str, str, str]],
    data: st.DataObject,
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, rows, zeros in zip(paths, (old, new), ("0", ""), strict=True):
        texts: list[tuple[str, ...]] = [(f"{zeros}{row[0]}", *row[1:]) for row in rows]
        raw, _ = data.draw(csv_bytes(["ID", "A", "DAY", "B"], texts))
        path.write_bytes(raw)
    options: dict[str, Any] = {"rules": {"ID": "lstrip0"}}
    if data.draw(st.booleans()):
        options["rules"] = {"ID": "decimal"}
    for column, choices in (("A", NUMBER_RULES), ("DAY", DAY_RULES), ("B", DAY_RULES)):
        for setting, rule in data.draw(st.sampled_from(choices)).items():
            options.setdefault(setting, {})[column] = rule
    if data.draw(st.booleans()):
        # Keys of equal bytes: the kernel matches the rows where both are read alike.
        paths[0].write_bytes(paths[0].read_bytes().replace(b"\n0", b"\n"))
        del options["rules"]["ID"]
    with pytest.MonkeyPatch.context() as patch:
        size = data.draw(st.sampled_from([1, 60, 1 << 25]))
        patch.setattr(pairs_module, "GROUP_BYTES", size)
        patch.setattr(groups, "GROUP_CELLS", size)
        assert assert_the_same(patch, paths, keys="ID", **options) in {"native", None}


@pytest.mark.parametrize("of_key", [{}, {"ID": "lstrip0"}])
def test_sums_of_more_digits_than_the_kernel_adds_up_have_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_key: dict[str, str]
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, zeros in zip(paths, (".0", ".00"), strict=True):
        rows = [f"{at},{'9' * 37}{zeros}\n" for at in range(9)]
        path.write_text("ID,V\n" + "".join(rows) + f"9,1{zeros}{path.stem}\n")
    options: dict[str, Any] = {"keys": "ID", "rules": {"V": "decimal"} | of_key}
    assert assert_the_same(monkeypatch, paths, **options) == "native"
