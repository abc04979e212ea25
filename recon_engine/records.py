"""Frozen dataclasses that compile nothing for a class of few instances.

The standard decorator compiles six methods for each class, which takes 0.5 ms. The
modules that `recon diff` imports define a hundred classes: compiling them takes a
third as long as `import polars`. Here all classes have the same methods, except for
`__init__`, which is compiled once a class has many instances.
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
        """As `dataclasses.dataclass`, for frozen classes."""
        assert frozen  # noqa: S101 - others need the standard decorator
        plain = dataclasses.dataclass(
            init=False, repr=False, eq=False, slots=slots, kw_only=kw_only
        )
        return lambda cls: _with_methods(plain(cls))


__all__ = ["dataclass"]

# To compile `__init__` takes as long as to set the fields of so many instances.
FEW_INSTANCES: Final = 100


class _FromFactory:
    """In a signature, the default of a field that is made anew for each instance."""

    def __repr__(self) -> str:
        return "<factory>"


FROM_FACTORY: Final = _FromFactory()


def _with_methods(cls: type) -> type:
    for name, method in {**METHODS, "__init__": _LazyInit(cls)}.items():
        if name not in vars(cls):
            setattr(cls, name, method)
    return cls


class _LazyInit:
    """`__init__` of a class, which is compiled for many instances, or for errors."""

    __slots__ = ("_cls", "_fields", "_made", "_positional")

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._made = 0
        self._fields: dict[str, dataclasses.Field[Any]] = {}
        self._positional: tuple[str, ...] = ()

    def __get__(self, record: object, cls: type) -> Init:
        self._made += 1
        if record is not None and self._made <= FEW_INSTANCES:
            return functools.partial(self._set_fields, record)
        init: Init = self._compile().__get__(record, cls)
        return init

    def _compile(self) -> Any:
        init = _compile_init(self._cls)
        self._cls.__init__ = init  # type: ignore[misc]
        return init

    def _set_fields(self, record: object, /, *args: object, **kwargs: object) -> None:
        if not self._fields:
            every = {each.name: each for each in dataclasses.fields(self._cls)}
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
    "__getstate__": _state,
    "__setstate__": _restore,
}
