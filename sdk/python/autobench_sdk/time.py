"""Times as text."""

import datetime
import math

_EPOCH = datetime.datetime(1970, 1, 1)
# First and last millisecond of the years 1 to 9999, which is what Python's calendar has.
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999


def iso_8601(milliseconds: float) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC, for example `2026-01-01T00:00:00.000Z`. Times that do not fit the years 1 to 9999 are clamped
    to them; what is no number is 1970."""
    whole = 0 if math.isnan(milliseconds) else math.floor(min(max(milliseconds, _FIRST_MS), _LAST_MS))
    return (_EPOCH + datetime.timedelta(milliseconds=whole)).isoformat(timespec="milliseconds") + "Z"
