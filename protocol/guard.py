"""The guard: what every request frame passes before kio or any other decoder sees it.

kio's native reader trusts the counts it reads: 25 bytes are enough to make it ask for 256 GiB, and the
process is gone. It also knows no mercy on tagged fields that its schema does not name, which every receiver
must skip. So the guard walks the whole frame first, header and body, and lets it through only when every
length is covered by the bytes that remain, and when it holds no more elements than `walker.WORK_MAX` allows.
Unknown tagged fields are cut out on the way, at every level, and so is what lies behind the body.

The walkers come from the same schemas as kio's readers (`protocol.walker`), and what the guard lets
through, kio reads in bounded time and memory. It may still refuse what lies inside the lengths: text that
is not UTF-8, a boolean of 2.
"""

import struct
from functools import cache

from protocol.errors import RemoteProtocolError
from protocol.schema import request_header_flexible, request_schema
from protocol.versions import accept
from protocol.walker import Cut, Walker, compile_walker

COPY_BYTES_MAX = 1 << 20
"""Frames up to this size are copied before the walk: stepping through bytes is twice as fast as through a
view. Larger ones carry records, so they have few steps for their size and their copy would cost more than
it saves."""


def check(api_key: int, version: int, frame: memoryview) -> memoryview:
    """Return the frame, API key first, in a form that decoders may trust; raises RemoteProtocolError,
    nothing else.

    The result is `frame` itself, not a copy, unless something had to be cut out: then it is a
    view of a new buffer, writable like a fresh frame. Raises UnsupportedVersion for a request that is not
    accepted.
    """
    walk = _walker(accept(api_key, version), version)
    size = len(frame)
    cuts: list[Cut] = []
    try:
        walk(bytes(frame) if size <= COPY_BYTES_MAX else frame, size, cuts)
    except (IndexError, struct.error):
        raise RemoteProtocolError("the frame is cut short") from None
    return _without(frame, cuts) if cuts else frame


@cache
def _walker(api_key: int, version: int) -> Walker:
    return compile_walker(
        request_schema(api_key, version), header_flexible=request_header_flexible(api_key, version)
    )


def _without(frame: memoryview, cuts: list[Cut]) -> memoryview:
    cuts.sort()
    out = bytearray()
    at = 0
    for start, stop, instead in cuts:
        out += frame[at:start]
        out += instead
        at = stop
    out += frame[at:]
    return memoryview(out)
