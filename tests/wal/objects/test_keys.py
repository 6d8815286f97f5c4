"""Object keys: what is a key stays inside its store, and every beginning of a key may be listed."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.objects.keys import check_key, check_prefix

texts = st.text(st.sampled_from("ab/.~ -ä\n"), max_size=12) | st.text(max_size=20)


@settings(deadline=None)
@given(texts)
def test_a_key_has_whole_parts_that_lead_nowhere_else(text: str) -> None:
    with suppress(ValueError):
        check_key(text)
        assert text.isascii()
        assert text.isprintable()
        assert all(part and not part.startswith(".") for part in text.split("/"))


@settings(deadline=None)
@given(texts)
def test_every_beginning_of_a_key_is_a_prefix_and_nothing_else_is(text: str) -> None:
    try:
        check_key(text + "x" if not text or text.endswith("/") else text)
    except ValueError:
        with pytest.raises(ValueError, match="is no object key"):
            check_prefix(text)
    else:
        for end in range(len(text) + 1):
            check_prefix(text[:end])


@pytest.mark.parametrize("key", ["x" * 255, "/".join(["x" * 127] * 8), "~ !#%&'()+,;=@[]{}"])
def test_long_and_odd_keys_are_keys(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize("key", ["x" * 256, "/".join(["x" * 128] * 8)])
def test_keys_that_are_too_long_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is no object key"):
        check_key(key)
