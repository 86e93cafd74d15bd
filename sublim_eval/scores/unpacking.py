"""How much a packed log really unpacks to, found out before anybody unpacks it: its list of members may lie."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

LARGEST = 2**30
"""Bytes of a `.json` log, or of one member of an `.eval` log once unpacked."""

WHOLE = 8 * 2**30
"""Bytes of a whole `.eval` log once unpacked."""

SMALL, RATIO = 2**26, 200
"""What unpacks to more than so many bytes at more than so many a packed one is no log: real ones are below 50."""

CHUNK = 2**20
STORED, DEFLATED, ZSTD = 0, 8, 93
HEAD = 30
"""Bytes of a member's own head before its name."""


def check(file: Path, *, samples: bool) -> None:
    """Raise ValueError for a log that is larger, or unpacks to more, than a log can be or than it says of itself.

    samples: whether they are about to be read; without them only what else is in the log is tried.
    """
    packed = file.stat().st_size
    if not zipfile.is_zipfile(file):
        _within(packed, packed, packed)
        return
    with zipfile.ZipFile(file) as opened:
        members = opened.infolist()
    _within(packed, sum(m.file_size for m in members), max((m.file_size for m in members), default=0))
    with file.open("rb") as stream:
        for member in members:
            if samples or not member.filename.startswith("samples/"):
                _as_large_as_it_says(stream, member)


def _within(packed: int, unpacked: int, largest: int) -> None:
    if largest > LARGEST or unpacked > WHOLE or (unpacked > SMALL and unpacked > RATIO * packed):
        raise ValueError(
            f"has {packed / 2**20:,.0f} MiB and would unpack to {unpacked / 2**20:,.0f} MiB, more than a log holds"
        )


def _as_large_as_it_says(stream: io.BufferedReader, member: zipfile.ZipInfo) -> None:
    size = 0
    for part in _parts(stream, member):
        size += len(part)
        if size > member.file_size:
            raise ValueError(f"says that {member.filename} has {member.file_size:,} bytes, and it unpacks to more")


def _parts(stream: io.BufferedReader, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The unpacked bytes of a member, a piece at a time and whatever size it says."""
    stream.seek(member.header_offset)
    name, extra = struct.unpack("<HH", stream.read(HEAD)[HEAD - 4 :])
    stream.seek(name + extra, io.SEEK_CUR)
    packed = stream.read(member.compress_size)
    if member.compress_type == STORED:
        yield packed
    elif member.compress_type == DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        while packed:
            yield unpacker.decompress(packed, CHUNK)
            packed = unpacker.unconsumed_tail
    elif member.compress_type == ZSTD:
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        yield from iter(lambda: reader.read(CHUNK), b"")
    else:
        raise ValueError(f"packs {member.filename} in a way that logs do not (method {member.compress_type})")
