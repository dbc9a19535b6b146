"""Values of the world, and JSON as it travels."""

import json
import math
from typing import Any

#: The largest integer that a browser keeps exactly, 2^53 - 1. Larger ones travel as numbers, which says so.
LARGEST_EXACT = 9_007_199_254_740_991


def camel_case(text: str, border: str) -> str:
    """`power-meter` with the border `-` is `powerMeter`."""
    first, *others = text.split(border)
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def json_text(value: Any) -> str:
    """JSON as the Rust SDK writes it: keys in order, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def value_of(plain: Any) -> tuple:
    """Parsed JSON as a value of the world: a kind and what belongs to it. Without text where none is needed."""
    if plain is None:
        return ("null", None)
    if plain is True or plain is False:
        return ("boolean", plain)
    if isinstance(plain, str):
        return ("text", str(plain))
    if isinstance(plain, int):
        return ("integer", plain) if -LARGEST_EXACT <= plain <= LARGEST_EXACT else ("float", float(plain))
    if isinstance(plain, float):
        # JSON has no infinities and no NaN; such a value is not known.
        return ("float", plain) if math.isfinite(plain) else ("null", None)
    return ("json", json_text(plain))
