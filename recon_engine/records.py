"""Frozen dataclasses that are made in a twentieth of the time of the standard ones.

The modules that `recon diff` imports define 180 records. For each of them the standard
decorator compiles six methods, which takes half a millisecond: together a third as long
as `import polars`. Here all classes have the same methods, except for `__init__`, which
is compiled once a class has many instances.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass

    Init = Callable[..., None]

else:

    def dataclass(
        *, frozen: bool, slots: bool = False, kw_only: bool = False
    ) -> Callable[[type], type]:
        """As `dataclasses.dataclass`, for frozen classes with annotations as texts.

        Without `InitVar` and `KW_ONLY`. A class below a record that adds fields is a
        record itself.
        """
        assert frozen  # noqa: S101 - others need the standard decorator
        return lambda cls: _make_record(cls, slots=slots, kw_only=kw_only)


__all__ = ["dataclass"]

# To compile `__init__` takes as long as to set the fields of so many instances.
FEW_INSTANCES: Final = 100


class _FromFactory:
    """In a signature, the default of a field that is made anew for each instance."""

    def __repr__(self) -> str:
        return "<factory>"


FROM_FACTORY: Final = _FromFactory()
# `dataclasses.fields` returns the fields of this type, and has no public name for it.
ORDINARY: Final = vars(dataclasses)["_FIELD"]


def _make_record(cls: type, *, slots: bool, kw_only: bool) -> type:
    fields = _collect_fields(cls, kw_only=kw_only)
    given = dict(vars(cls))
    for name, each in fields.items():
        if given.get(name) is each:
            # A default that was written as `field(…)`.
            given[name] = each.default
        if slots or given.get(name) is dataclasses.MISSING:
            given.pop(name, None)
    init = _LazyInit()
    added = {
        **{name: made for name, made in METHODS.items() if name not in given},
        "__dataclass_fields__": fields,
        "__match_args__": tuple(n for n, each in fields.items() if not each.kw_only),
    }
    if "__init__" not in given:
        added["__init__"] = init
    if slots:
        # These descriptors are of the class that is replaced, and do not work in
        # another.
        for name in ("__dict__", "__weakref__"):
            given.pop(name, None)
        has = {n for base in cls.__mro__[1:] for n in getattr(base, "__slots__", ())}
        added["__slots__"] = tuple(name for name in fields if name not in has)
        # Slots are laid out while a class is made, so it is made anew.
        made = type(cls)(cls.__name__, cls.__bases__, {**given, **added})
        made.__qualname__ = cls.__qualname__
        cls = made
    else:
        for name in fields.keys() & vars(cls).keys():
            delattr(cls, name)
            if name in given:
                setattr(cls, name, given[name])
        for name, value in added.items():
            setattr(cls, name, value)
    init.cls = cls
    return cls


def _collect_fields(cls: type, *, kw_only: bool) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a class by name, those of the classes above it first."""
    fields: dict[str, dataclasses.Field[Any]] = {}
    for above in cls.__mro__[-1:0:-1]:
        fields |= vars(above).get("__dataclass_fields__", {})
    for name, annotation in cls.__annotations__.items():
        if annotation.startswith("ClassVar"):
            continue
        each: Any = vars(cls).get(name, dataclasses.MISSING)
        if not isinstance(each, dataclasses.Field):
            each = dataclasses.field(default=each)
        each.name, each.type = name, annotation
        each._field_type = ORDINARY  # noqa: SLF001 - there is no other way to set it
        if each.kw_only is dataclasses.MISSING:
            each.kw_only = kw_only
        fields[name] = each
    return fields


class _LazyInit:
    """`__init__` of a class, which is compiled for many instances, or for errors."""

    __slots__ = ("_fields", "_made", "_positional", "cls")

    def __init__(self) -> None:
        # Set once the class is there.
        self.cls: type = object
        self._made = 0
        self._fields: dict[str, dataclasses.Field[Any]] = {}
        self._positional: tuple[str, ...] = ()

    def __get__(self, record: object, cls: type) -> Init:
        # Without a lock: a count that threads lose only delays the compilation.
        self._made += 1
        if record is not None and self._made <= FEW_INSTANCES:
            return functools.partial(self._set_fields, record)
        init: Init = self._compile().__get__(record, cls)
        return init

    def _compile(self) -> Any:
        init = _compile_init(self.cls)
        self.cls.__init__ = init  # type: ignore[misc]
        return init

    def _set_fields(self, record: object, /, *args: object, **kwargs: object) -> None:
        if not self._fields:
            every = {each.name: each for each in dataclasses.fields(self.cls)}
            self._positional = tuple(n for n, each in every.items() if not each.kw_only)
            self._fields = every
        values = dict(zip(self._positional, args, strict=False))
        wrong = len(args) > len(self._positional) or not values.keys().isdisjoint(
            kwargs
        )
        values.update(kwargs)
        for name, each in self._fields.items():
            if name in values:
                continue
            if each.default is not dataclasses.MISSING:
                values[name] = each.default
            elif each.default_factory is not dataclasses.MISSING:
                values[name] = each.default_factory()
        if wrong or values.keys() != self._fields.keys():
            # The compiled function raises the usual error.
            self._compile()(record, *args, **kwargs)
            return
        for name, value in values.items():
            # The class refuses assignments, also to a record that is being made.
            object.__setattr__(record, name, value)
        if hasattr(record, "__post_init__"):
            record.__post_init__()


def _compile_init(cls: type) -> Any:
    """The function that the standard decorator compiles."""
    parameters, lines, kw_only = ["self"], [], False
    fields = {each.name: each for each in dataclasses.fields(cls)}
    # Those by keyword come last.
    for name, each in sorted(fields.items(), key=lambda item: bool(item[1].kw_only)):
        if each.kw_only and not kw_only:
            parameters.append("*")
            kw_only = True
        value = name
        if each.default is not dataclasses.MISSING:
            parameters.append(f"{name}=_fields[{name!r}].default")
        elif each.default_factory is not dataclasses.MISSING:
            parameters.append(f"{name}=_missing")
            made = f"_fields[{name!r}].default_factory()"
            value = f"{made} if {name} is _missing else {name}"
        else:
            parameters.append(name)
        lines.append(f"_set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n  ".join(lines or ["pass"])
    scope: dict[str, Any] = {}
    exec(  # noqa: S102 - as in `dataclasses`: the names are those of the class
        f"def create(_fields, _missing, _set):\n"
        f" def __init__({', '.join(parameters)}):\n  {body}\n"
        f" return __init__",
        vars(sys.modules[cls.__module__]),
        scope,
    )
    init = scope["create"](fields, FROM_FACTORY, object.__setattr__)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {name: each.type for name, each in fields.items()}
    init.__annotations__["return"] = None
    return init


@functools.cache
def _names(cls: Any, which: str = "name") -> tuple[str, ...]:
    """The fields that have a flag, `repr` or `compare`; all by default."""
    every = dataclasses.fields(cls)
    return tuple(each.name for each in every if getattr(each, which))


def _values(record: Any, which: str = "name") -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in _names(record.__class__, which))


def _repr(record: Any) -> str:
    names = _names(record.__class__, "repr")
    fields = ", ".join(f"{name}={getattr(record, name)!r}" for name in names)
    return f"{type(record).__qualname__}({fields})"


def _equal(record: Any, other: Any) -> Any:
    if type(other) is not type(record):
        return NotImplemented
    return _values(record, "compare") == _values(other, "compare")


def _hash(record: object) -> int:
    return hash(_values(record, "compare"))


def _state(record: object) -> tuple[object, ...]:
    return _values(record)


def _refuse_to_set(_record: object, name: str, _value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_record: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _restore(record: Any, values: tuple[object, ...]) -> None:
    for name, value in zip(_names(record.__class__), values, strict=True):
        object.__setattr__(record, name, value)


METHODS: dict[str, Any] = {
    "__repr__": _repr,
    "__eq__": _equal,
    "__hash__": _hash,
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    # pickle restores slots by `setattr`, which these classes refuse, so they have a
    # state of their own.
    "__getstate__": _state,
    "__setstate__": _restore,
}
