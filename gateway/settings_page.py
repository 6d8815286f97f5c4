"""The table of settings as people read it: the page docs/operations/settings.md."""

from gateway.settings import GROUPS, SETTINGS, Setting

_OPENING = """\
# Settings

<!-- Written by `drumlog settings` from the table in gateway/settings.py. Change that and run `make docs`. -->

Every setting has one name in three spellings. For `num_partitions` they are the flag `--num-partitions 3` of
`drumlog serve`, the environment variable `DRUMLOG_NUM_PARTITIONS=3`, and the line `num_partitions = 3` in the
TOML file that `--config` (or `DRUMLOG_CONFIG`) names. A flag wins over the environment, the environment over
the file, and the file over the default.

A value that is not allowed, or a name that is no setting, ends `drumlog serve` before it starts, with exit
code 2 and one sentence that names the setting, the value and what is allowed. Sizes may be written with
`KiB`, `MiB`, `GiB` or `TiB`: `64MiB`. In the TOML file, numbers and `true`/`false` stand bare, everything
else in quotes.
"""


def page() -> str:
    """The whole page in Markdown, ending in a line end."""
    return _OPENING + "".join(_section(group, heading) for group, heading in GROUPS.items())


def _section(group: str, heading: str) -> str:
    rows = "".join(_line(row) for row in SETTINGS if row.group == group)
    return f"\n## {heading}\n\n| setting | default | allowed | what it does |\n|---|---|---|---|\n{rows}"


def _line(row: Setting) -> str:
    default = row.default_words or f"`{row.default_shown}`"
    unit = f" {row.unit}" if row.unit and not default.strip("`").endswith("B") else ""
    return f"| `{row.name}` | {default}{unit} | {row.kind.allowed} | {row.help} |\n"
