"""The rules of object keys, the same for every store, checked before anything is sent or written.

A key is 1 to 1024 characters of printable ASCII in `/`-separated parts of 1 to 255; a part is not empty and
does not begin with a dot, so no key can leave a directory or meet a file system's hidden files.
"""

KEY_LENGTH_MAX = 1024
PART_LENGTH_MAX = 255


def is_part(part: str) -> bool:
    """Whether `part` may stand between the slashes of a key."""
    return (
        0 < len(part) <= PART_LENGTH_MAX
        and part[0] != "."
        and part.isascii()
        and part.isprintable()
        and "/" not in part
    )


def check_key(key: str) -> None:
    """Raise ValueError with a sentence if `key` is no object key."""
    if len(key) > KEY_LENGTH_MAX or not all(is_part(part) for part in key.split("/")):
        raise ValueError(
            f"{key!r} is no object key: allowed are {KEY_LENGTH_MAX} characters of printable ASCII in parts"
            f" of 1 to {PART_LENGTH_MAX} that do not begin with a dot"
        )


def check_prefix(prefix: str) -> None:
    """Raise ValueError with a sentence if no key can begin with `prefix`; its last part may be unfinished."""
    whole, _, unfinished = prefix.rpartition("/")
    if whole or prefix.startswith("/"):
        check_key(whole)
    if unfinished:
        check_key(unfinished)
