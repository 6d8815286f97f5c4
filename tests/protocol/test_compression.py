"""Codecs give back what they were given, and never more than they may."""

import contextlib
import gzip
import tracemalloc
from struct import pack

import cramjam
import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.batches import Codec
from protocol.compression import compress, decompress
from protocol.errors import BatchTooLarge, CorruptBatch

COMPRESSING = [codec for codec in Codec if codec is not Codec.NONE]
BOMB_SIZE = 200_000_000
LIMIT = 1_000_000


def xerial(*blocks: bytes, header: bytes = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01") -> bytes:
    compressed = [bytes(cramjam.snappy.compress_raw(block)) for block in blocks]
    return header + b"".join(pack(">i", len(block)) + block for block in compressed)


@pytest.mark.parametrize("codec", Codec)
@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 3000))
def test_data_comes_back(codec: Codec, data: bytes, repeats: int) -> None:
    data *= repeats
    closed = compress(codec, data)
    assert decompress(codec, closed, len(data)) == data
    assert decompress(codec, memoryview(bytearray(closed)), len(data) + 1) == data
    if data:
        with pytest.raises(BatchTooLarge):
            decompress(codec, closed, len(data) - 1)


@pytest.mark.parametrize("codec", COMPRESSING)
def test_data_that_grows_more_than_any_first_guess_comes_back(codec: Codec) -> None:
    data = bytes(20_000_000)
    assert decompress(codec, compress(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_bomb_is_refused_without_being_opened(codec: Codec) -> None:
    bomb = compress(codec, bytes(BOMB_SIZE))
    tracemalloc.start()
    try:
        with pytest.raises(BatchTooLarge):
            decompress(codec, bomb, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * LIMIT + 2 * len(bomb)


def test_many_small_snappy_blocks_are_bounded_together() -> None:
    bomb = xerial(*[bytes(10_000)] * 101)
    with pytest.raises(BatchTooLarge):
        decompress(Codec.SNAPPY, bomb, LIMIT)


def test_a_snappy_block_may_not_claim_what_it_cannot_hold() -> None:
    with pytest.raises(CorruptBatch):
        decompress(Codec.SNAPPY, b"\x80\x80\x80\x04abcd", 1 << 30)


@pytest.mark.parametrize("codec", COMPRESSING)
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_open_or_raise_a_batch_error(codec: Codec, data: bytes) -> None:
    with contextlib.suppress(CorruptBatch, BatchTooLarge):
        assert len(decompress(codec, data, 1000)) <= 1000


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_frame_that_is_cut_short_is_corrupt(codec: Codec) -> None:
    closed = compress(codec, bytes(range(256)) * 20)
    for size in range(len(closed)):
        with pytest.raises(CorruptBatch):
            decompress(codec, closed[:size], LIMIT)


@pytest.mark.parametrize("codec", COMPRESSING)
def test_bytes_behind_a_frame_are_corrupt(codec: Codec) -> None:
    with pytest.raises(CorruptBatch):
        decompress(codec, compress(codec, b"data" * 100) + b"garbage", LIMIT)


def test_frames_of_other_writers_open() -> None:
    data = b"data that repeats, " * 100
    assert decompress(Codec.GZIP, gzip.compress(data, 1), LIMIT) == data
    for linked in (False, True):
        closed = lz4.frame.compress(data, block_linked=linked, content_checksum=True, store_size=linked)
        assert decompress(Codec.LZ4, closed, LIMIT) == data
    closed = bytes(cramjam.zstd.compress(data, level=19))
    assert decompress(Codec.ZSTD, closed + closed, LIMIT) == data * 2


def test_framed_snappy_streams_open() -> None:
    assert decompress(Codec.SNAPPY, xerial(b"one ", b"two ", b"three"), 13) == b"one two three"
    assert decompress(Codec.SNAPPY, xerial(), LIMIT) == b""
    assert decompress(Codec.SNAPPY, xerial(b"one ") + xerial(b"two"), LIMIT) == b"one two"
    for size in range(1, len(xerial(b"one"))):
        if size != len(xerial()):
            with pytest.raises(CorruptBatch):
                decompress(Codec.SNAPPY, xerial(b"one")[:size], LIMIT)
    for length in (0, -1, 2**31 - 1):
        with pytest.raises(CorruptBatch):
            decompress(Codec.SNAPPY, xerial() + pack(">i", length) + b"rest", LIMIT)
