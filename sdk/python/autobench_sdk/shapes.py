"""How values of each type are described, read, written and compared. A slice, settings and arguments are made of these."""

import dataclasses
import enum
import json
import math
import types
import typing
from typing import Annotated, Any

from .values import json_text, value_of


class Mismatch(Exception):
    """JSON has another form than its type; the text says where and how, for the person who wrote it."""


class Choice(str, enum.Enum):
    """One of a few texts: `AWAY = "away", "The line is away."`, the second text being its description."""

    description: str

    def __new__(cls, value: str, description: str = ""):
        self = str.__new__(cls, value)
        self._value_ = value
        self.description = description
        return self

    def __str__(self) -> str:
        return self._value_


class History(list):
    """The newest of something, oldest first, at most `bound`. What was added since the last publication is published as additions."""

    def __init__(self, bound: int, entries: Any = ()):
        super().__init__(list(entries)[-bound:])
        self.bound = bound
        #: How many were ever added; the difference of two says how many are new.
        self.added = len(self)

    def push(self, entry: Any) -> None:
        """Adds one; the oldest goes when there are more than the bound."""
        self.append(entry)
        self.added += 1
        if len(self) > self.bound:
            del self[0]

    def copy(self) -> "History":
        clone = History(self.bound, self)
        clone.added = self.added
        return clone


class Says(tuple):
    """What a field's schema says beside its type, as pairs: behind the type in `Annotated`, where nothing may stand that cannot be hashed."""


class _Shape:
    """How values of one type are described, read, written and compared. One place in the slice, unless it says otherwise."""

    places = 1

    def schema(self, definitions: dict) -> dict:
        raise NotImplementedError

    def read(self, value: Any, where: str) -> Any:
        raise NotImplementedError

    def json(self, value: Any) -> Any:
        return value

    def clone(self, value: Any) -> Any:
        return value

    def add_places(self, path: str, places: list) -> None:
        places.append(path)

    def diff(self, new: Any, old: Any, place: int, changes: list) -> None:
        if new is not old and (new != old or type(new) is not type(old)):
            changes.append(("set", place, value_of(self.json(new))))


def _complain(where: str, wanted: str, value: Any) -> Mismatch:
    name = f"`{where}`" if where else "it"
    return Mismatch(f"{name} is {_kind(value)}, expected {wanted}")


def _kind(value: Any) -> str:
    for kind, name in ((bool, "a boolean"), (int, "an integer"), (float, "a number"), (str, "a text"), (list, "a list"), (dict, "an object")):
        if isinstance(value, kind):
            return name
    return "null"


class _Leaf(_Shape):
    def __init__(self, kind: type, schema: dict, wanted: str):
        self._kind, self._schema, self._wanted = kind, schema, wanted

    def schema(self, definitions: dict) -> dict:
        return dict(self._schema)

    def read(self, value: Any, where: str) -> Any:
        if type(value) is not self._kind:
            raise _complain(where, self._wanted, value)
        return value


class _Float(_Leaf):
    def __init__(self) -> None:
        super().__init__(float, {"type": "number", "format": "double"}, "a number")

    def read(self, value: Any, where: str) -> Any:
        if value is None:
            return math.nan
        if type(value) not in (int, float):
            raise _complain(where, self._wanted, value)
        return float(value)

    def json(self, value: Any) -> Any:
        value = float(value)
        return value if math.isfinite(value) else None

    def diff(self, new: Any, old: Any, place: int, changes: list) -> None:
        # NaN is not equal to itself and would be published for ever.
        if new is not old and new != old and not (new != new and old != old):
            changes.append(("set", place, value_of(self.json(new))))


class _Choice(_Shape):
    def __init__(self, choice: type):
        self._choice = choice

    def schema(self, definitions: dict) -> dict:
        name = self._choice.__name__
        if name not in definitions:
            described = {"description": _doc(self._choice)} if _doc(self._choice) else {}
            if any(one.description for one in self._choice):
                each = [{"type": "string", "const": one.value, "description": one.description} for one in self._choice]
                definitions[name] = {**described, "oneOf": each}
            else:
                definitions[name] = {**described, "type": "string", "enum": [one.value for one in self._choice]}
        return {"$ref": f"#/$defs/{name}"}

    def read(self, value: Any, where: str) -> Any:
        try:
            return self._choice(value)
        except ValueError:
            known = ", ".join(f"`{one.value}`" for one in self._choice)
            raise Mismatch(f"`{where}` is {value!r}, expected one of {known}") from None

    def json(self, value: Any) -> Any:
        return value._value_


class _Optional(_Shape):
    def __init__(self, inner: _Shape, absent: bool):
        self.inner, self._absent = inner, absent
        self.places = inner.places

    def schema(self, definitions: dict) -> dict:
        schema = self.inner.schema(definitions)
        if isinstance(schema.get("type"), str):
            return {**schema, "type": [schema["type"], "null"]}
        return {"anyOf": [schema, {"type": "null"}]}

    def read(self, value: Any, where: str) -> Any:
        return None if value is None else self.inner.read(value, where)

    def json(self, value: Any) -> Any:
        return None if value is None else self.inner.json(value)

    def clone(self, value: Any) -> Any:
        return None if value is None else self.inner.clone(value)

    def add_places(self, path: str, places: list) -> None:
        self.inner.add_places(path, places)

    def diff(self, new: Any, old: Any, place: int, changes: list) -> None:
        if new is old:
            return
        if new is None:
            changes.append(("remove", place) if self._absent else ("set", place, ("null", None)))
        elif old is None:
            changes.append(("set", place, value_of(self.inner.json(new))))
        else:
            self.inner.diff(new, old, place, changes)


class _Anything(_Shape):
    """A value of any form, or a list or a map of known form: published as one value."""

    def __init__(self, kind: type, inner: "_Shape | None"):
        self._kind, self._inner = kind, inner

    def schema(self, definitions: dict) -> dict:
        inner = self._inner.schema(definitions) if self._inner else None
        if self._kind is list:
            return {"type": "array", **({"items": inner} if inner else {})}
        if self._kind is dict:
            return {"type": "object", **({"additionalProperties": inner} if inner else {})}
        return {}

    def read(self, value: Any, where: str) -> Any:
        if self._kind is not object and type(value) is not self._kind:
            raise _complain(where, "a list" if self._kind is list else "an object", value)
        if self._inner is None:
            return value
        if self._kind is list:
            return [self._inner.read(one, where) for one in value]
        return {key: self._inner.read(one, f"{where}.{key}") for key, one in value.items()}

    def json(self, value: Any) -> Any:
        if self._inner is None:
            return value
        if self._kind is list:
            return [self._inner.json(one) for one in value]
        return {str(key): self._inner.json(one) for key, one in value.items()}

    def clone(self, value: Any) -> Any:
        # By way of JSON, because whatever is in it may be changed in place.
        return json.loads(json_text(value)) if self._inner is None else self.read(self.json(value), "")

    def diff(self, new: Any, old: Any, place: int, changes: list) -> None:
        plain = self.json(new)
        if plain != self.json(old):
            changes.append(("set", place, value_of(plain)))


class _History(_Anything):
    def __init__(self, inner: "_Shape | None"):
        super().__init__(list, inner)
        self.bound = 1

    def schema(self, definitions: dict) -> dict:
        return {**super().schema(definitions), "maxItems": self.bound}

    def read(self, value: Any, where: str) -> Any:
        return History(self.bound, super().read(value, where))

    def clone(self, value: Any) -> Any:
        return value.copy()

    def diff(self, new: Any, old: Any, place: int, changes: list) -> None:
        fresh = new.added - old.added
        if fresh == 0:
            return
        plain = self.json(new)
        # Fewer than all: the rest of the array stays as it is in every mirror.
        if 0 < fresh < len(plain):
            changes.extend(("append", place, value_of(one), self.bound) for one in plain[-fresh:])
        else:
            changes.append(("set", place, value_of(plain)))


class Struct(_Shape):
    def __init__(self, cls: type):
        self.cls = cls
        self.fields = []
        offset = 1
        hints = typing.get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            absent = field.metadata.get("absent", False)
            shape = _shape_of(hints[field.name], f"{cls.__name__}.{field.name}", absent)
            if isinstance(shape, _History):
                if field.default_factory is dataclasses.MISSING:
                    raise TypeError(f"{cls.__name__}.{field.name} needs member(factory=lambda: History(bound))")
                shape.bound = field.default_factory().bound
            self.fields.append((field.name, cls._spell(field.name), shape, absent, offset, field))
            offset += shape.places
        self.places = offset
        self._compared = [(name, shape, place) for name, _, shape, _, place, _ in self.fields]

    def schema(self, definitions: dict) -> dict:
        name = self.cls.__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = self.whole_schema(definitions)
        return {"$ref": f"#/$defs/{name}"}

    def whole_schema(self, definitions: dict) -> dict:
        properties, required = {}, []
        for _, name, shape, _, _, field in self.fields:
            schema = shape.schema(definitions)
            if field.metadata.get("description"):
                schema["description"] = field.metadata["description"]
            if self.cls._denies_unknown and field.default is not dataclasses.MISSING:
                schema["default"] = shape.json(field.default)
            elif not self.cls._denies_unknown and not isinstance(shape, _Optional) or _has_no_default(field):
                required.append(name)
            properties[name] = schema
        return {
            **({"description": _doc(self.cls)} if _doc(self.cls) else {}),
            "type": "object",
            **({"properties": properties} if properties else {}),
            **({"required": required} if required else {}),
            **({"additionalProperties": False} if self.cls._denies_unknown else {}),
        }

    def read(self, value: Any, where: str) -> Any:
        if type(value) is not dict:
            raise _complain(where, "an object", value)
        below = f"{where}." if where else ""
        found = {}
        for attribute, name, shape, _, _, field in self.fields:
            if name in value:
                found[attribute] = shape.read(value[name], below + name)
            elif _has_no_default(field):
                raise Mismatch(f"missing field `{below}{name}`")
        if self.cls._denies_unknown:
            names = [name for _, name, _, _, _, _ in self.fields]
            for name in value:
                if name not in names:
                    expected = ", ".join(f"`{known}`" for known in names) or "none"
                    raise Mismatch(f"unknown field `{below}{name}`, expected {expected}")
        return self.cls(**found)

    def json(self, value: Any) -> Any:
        plain = {}
        for attribute, name, shape, absent, _, _ in self.fields:
            content = getattr(value, attribute)
            if content is not None or not absent:
                plain[name] = shape.json(content)
        return plain

    def clone(self, value: Any) -> Any:
        clone = self.cls.__new__(self.cls)
        content = dict(value.__dict__)
        for attribute, shape, _ in self._compared:
            content[attribute] = shape.clone(content[attribute])
        clone.__dict__.update(content)
        return clone

    def add_places(self, path: str, places: list) -> None:
        places.append(path)
        for _, name, shape, _, _, _ in self.fields:
            shape.add_places(f"{path}/{name.replace('~', '~0').replace('/', '~1')}", places)

    def diff(self, new: Any, old: Any, place: int, changes: list) -> None:
        new, old = new.__dict__, old.__dict__
        for attribute, shape, offset in self._compared:
            ours, theirs = new[attribute], old[attribute]
            if ours is not theirs:
                shape.diff(ours, theirs, place + offset, changes)


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _doc(cls: type) -> str:
    # A dataclass without a text of its own gets one that says its fields.
    text = cls.__dict__.get("__doc__") or ""
    return "" if text.startswith(f"{cls.__name__}(") else " ".join(text.split())


class _Extended(_Shape):
    """A shape whose schema says more."""

    def __init__(self, inner: _Shape, more: dict):
        self._inner, self._more = inner, more
        self.places, self.read, self.json, self.clone = inner.places, inner.read, inner.json, inner.clone
        self.add_places, self.diff = inner.add_places, inner.diff

    def schema(self, definitions: dict) -> dict:
        return {**self._inner.schema(definitions), **self._more}


def _shape_of(hint: Any, where: str, absent: bool = False) -> _Shape:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        shape = _shape_of(arguments[0], where, absent)
        for more in arguments[1:]:
            if isinstance(more, Says):
                shape = _Extended(shape, dict(more))
        return shape
    if origin in (typing.Union, types.UnionType):
        others = [one for one in arguments if one is not type(None)]
        if len(others) == 1 and len(arguments) == 2:
            return _Optional(_shape_of(others[0], where), absent)
    elif origin is History or hint is History:
        return _History(_shape_of(arguments[0], where) if arguments else None)
    elif origin is list or hint is list:
        return _Anything(list, _shape_of(arguments[0], where) if arguments else None)
    elif origin is dict or hint is dict:
        return _Anything(dict, _shape_of(arguments[1], where) if arguments else None)
    elif hint is Any or hint is object:
        return _Anything(object, None)
    elif isinstance(hint, type):
        if hasattr(hint, "_shape"):
            return hint._shape
        if issubclass(hint, Choice):
            return _Choice(hint)
        if hint is bool:
            return _Leaf(bool, {"type": "boolean"}, "true or false")
        if hint is int:
            return _Leaf(int, {"type": "integer"}, "an integer")
        if hint is float:
            return _Float()
        if hint is str:
            return _Leaf(str, {"type": "string"}, "a text")
    raise TypeError(f"{where} has the type {hint}, which has no place in a slice, in settings or in arguments")
