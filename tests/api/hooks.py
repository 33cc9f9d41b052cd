"""What schemathesis cannot know by itself: how to make a PNG."""

import re
import struct
import unicodedata
import zlib

import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)
# Control characters, what does not show, line separators, and characters that are none.
UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cn"}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(filling: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\x10\x20\x30")
    chunks = chunk(b"IHDR", header) + chunk(b"fiLl", filling) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def is_allowed(name: str) -> bool:
    """What a pattern cannot say of a name, and its description does."""
    stem = name[: -len(".png")]
    return not (
        name[:1] in {".", "-"}
        or name[:1].isspace()
        or stem[-1:] == "."
        or stem[-1:].isspace()
        or ".." in name
        or re.search("%[0-9a-fA-F]{2}", name)
        or DEVICE.match(name)
        or len(name.encode(errors="replace")) > 170
        or any(unicodedata.category(character) in UNSEEN for character in name)
    )


@schemathesis.hook
def filter_case(context, case):
    """Leaves out what says nothing about the server."""
    name = (case.path_parameters or {}).get("name")
    is_good = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    if is_good and isinstance(name, str) and not is_allowed(name):
        return False
    headers = {name.lower(): value for name, value in (case.headers or {}).items()}
    # A digest that was made up is never that of the image; unknown algorithms are passed over, as RFC 9530 asks.
    if "content-digest" in headers:
        return False
    # Where a header has a pattern, schemathesis fills in a 0 that does not match it, and takes the request for a good one.
    if "0" in (headers.get("if-match"), headers.get("if-none-match")):
        return False
    # What a node holds is asked for by nodes, without conditions: malformed ones are not looked at beside `?version`.
    return not ("version" in (case.query or {}) and any(name.startswith("if-") for name in headers))


schemathesis.openapi.media_type("image/png", st.binary(max_size=5000).map(png))
