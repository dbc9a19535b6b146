"""Slices, settings and arguments as classes: each field has a type, a default and a description, and the JSON Schema, the reading of JSON
and the difference of two states follow from them."""

import dataclasses
from typing import Annotated, Any

from .shapes import Says, Struct
from .values import camel_case

_SCHEMA = "https://json-schema.org/draft/2020-12/schema"



def says(**schema: Any) -> Says:
    """What a field's JSON Schema says beside its type: `Annotated[int, says(minimum=1, maximum=60)]`."""
    return Says(sorted(schema.items()))


#: Integers that are never negative.
U64 = Annotated[int, says(format="uint64", minimum=0)]
U32 = Annotated[int, says(format="uint32", minimum=0)]


def member(default: Any = dataclasses.MISSING, description: str = "", *, factory: Any = dataclasses.MISSING, absent: bool = False) -> Any:
    """A field with its description. `factory` makes the default of what can be changed in place. With `absent`, None takes the member away
    instead of making it null."""
    return dataclasses.field(
        default=default, default_factory=factory, metadata={"description": description, "absent": absent}
    )


class Typed:
    """What slices, settings and arguments have in common. A subclass is a dataclass without being marked as one."""

    _denies_unknown = False
    _shape: Struct

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(cls)
        cls._shape = Struct(cls)

    @staticmethod
    def _spell(attribute: str) -> str:
        return camel_case(attribute, "_")

    @classmethod
    def from_json(cls, value: Any) -> Any:
        """An instance of parsed JSON; what is missing comes from its default. Raises `Mismatch`."""
        return cls._shape.read(value, "")

    def to_json(self) -> Any:
        """The whole of it as JSON would be parsed."""
        return self._shape.json(self)

    @classmethod
    def json_schema(cls) -> dict:
        """Its JSON Schema."""
        definitions: dict = {}
        schema = cls._shape.whole_schema(definitions)
        schema = {"$schema": _SCHEMA, "title": cls.__name__, **schema}
        if definitions:
            schema["$defs"] = definitions
        return schema


class Slice(Typed):
    """The driver's part of the state, or an object in it. Fields are named in camel case there."""


class Settings(Typed):
    """`[devices.<id>.settings]`. Fields are named with dashes there; a name that is not known is refused."""

    _denies_unknown = True

    @staticmethod
    def _spell(attribute: str) -> str:
        return attribute.replace("_", "-")


class Arguments(Typed):
    """Arguments of a command. Fields are named in camel case; a name that is not known is refused."""

    _denies_unknown = True


class NoSettings(Settings):
    """For drivers without settings."""


class NoArguments(Arguments):
    """For commands without arguments."""
