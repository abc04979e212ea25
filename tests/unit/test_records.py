"""`recon_engine.records.dataclass` does what the standard decorator does."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import field
from typing import Any, ClassVar

import pytest

from recon_engine.records import dataclass


@dataclass(frozen=True, slots=True)
class Ours:
    """A record with every kind of field."""

    first: int
    secret: str = field(repr=False)
    rest: list[int] = field(default_factory=list)
    note: str = field(default="n", compare=False)
    shared: ClassVar[int] = 3

    def __post_init__(self) -> None:
        """Refuse a negative number."""
        if self.first < 0:
            raise ValueError("negative")


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """The same by the standard decorator."""

    first: int
    secret: str = field(repr=False)
    rest: list[int] = field(default_factory=list)
    note: str = field(default="n", compare=False)
    shared: ClassVar[int] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyword:
    """A record whose fields are given by name."""

    key: int
    value: str = "v"


@dataclass(frozen=True, slots=True)
class Hashed:
    """A record of what can be hashed."""

    one: int
    two: tuple[int, ...] = ()


class Derived(Hashed):
    """A class below a record."""

    __slots__ = ()


def test_a_record_is_made_shown_and_compared_as_by_the_standard_decorator() -> None:
    ours, theirs = Ours(1, "s", note="x"), Theirs(1, "s", note="x")
    other: object = theirs
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert [f.name for f in dataclasses.fields(Ours)] == [
        f.name for f in dataclasses.fields(Theirs)
    ]
    assert ours == Ours(1, "s", [], "another note")
    assert ours != Ours(1, "t")
    assert ours != other
    assert ours.rest is not Ours(1, "s").rest
    assert Ours.__match_args__ == Theirs.__match_args__
    ours_takes, theirs_takes = inspect.signature(Ours), inspect.signature(Theirs)
    assert list(ours_takes.parameters) == list(theirs_takes.parameters)
    with pytest.raises(ValueError, match="negative"):
        Ours(-1, "s")
    with pytest.raises(TypeError, match="secret"):
        Ours(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Keyword(1)  # type: ignore[call-arg]
    assert Keyword(key=1) == Keyword(value="v", key=1)


def test_a_record_does_not_change() -> None:
    record: Any = Hashed(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field"):
        record.one = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field"):
        del record.one
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.other = 2
    assert not hasattr(record, "__dict__")
    assert dataclasses.replace(record, two=(1,)) == Hashed(1, (1,))


def test_a_record_is_hashed_copied_and_pickled_by_its_fields() -> None:
    assert {Hashed(1, (2,)), Hashed(1, (2,))} == {Hashed(1, (2,))}
    assert Derived(1) == Derived(1)
    assert Derived(1) != Hashed(1)
    record = Ours(1, "s", [1], "x")
    for again in (copy.deepcopy(record), pickle.loads(pickle.dumps(record))):  # noqa: S301
        assert (again, again.note) == (record, "x")
        assert again.rest is not record.rest


def test_help_shows_a_value_that_is_made_anew_as_the_standard_does() -> None:
    shown = str(inspect.signature(Ours.__init__))
    assert "rest: 'list[int]' = <factory>" in shown
    assert shown.replace("self: None, ", "") == str(inspect.signature(Theirs.__init__))
