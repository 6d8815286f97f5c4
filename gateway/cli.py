"""The command `drumlog`: its words, its help and its exit codes. What a node is lives in gateway/runtime.py.

Exit codes: 0, done, or stopped in order; 1, the node could not start or could not go on, and its last line
says why; 2, the command line, the environment or the file is wrong, and one sentence on standard error says
where.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import NoReturn

from gateway import logging_setup
from gateway.settings import GROUPS, SETTINGS, Setting, environment
from gateway.settings_load import SettingsError, load
from gateway.settings_page import page

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

_ENDING = """\
Every flag is also an environment variable (--num-partitions: DRUMLOG_NUM_PARTITIONS) and a key of the TOML
file (num_partitions). A flag wins over the environment, that over the file.
Exit codes: 0, stopped in order; 1, could not start or go on; 2, wrong settings.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; `{self.prog} --help` lists what there is.\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        sys.stdout.write(f"drumlog {metadata.version('drumlog')}\n")
        parser.exit(EXIT_DONE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line, the process's own by default, and return the exit code.

    Raises SystemExit, with the same codes, for --help, --version and a command line that cannot be read.
    """
    given = vars(_parser().parse_args(arguments))
    if given.pop("command") == "settings":
        sys.stdout.write(page())
        return EXIT_DONE
    try:
        settings = load({name: text for name, text in given.items() if text is not None}, environment())
    except SettingsError as error:
        sys.stderr.write(f"drumlog serve: {error}\n")
        return EXIT_USAGE
    logging_setup.configure(settings.log_level, settings.log_format)
    from gateway import runtime  # it imports all that a node needs; the other commands need none of it

    return runtime.serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="drumlog",
        description="A Kafka-protocol gateway that keeps its data in a write-ahead log on object storage.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        usage="drumlog serve [--SETTING VALUE]...",
        help="run a node until it is told to stop",
        description="Run a node. SIGTERM or Ctrl-C stops it in order, a second one at once.",
        epilog=_ENDING,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands.add_parser("settings", help="print the page of all settings, in Markdown", allow_abbrev=False)
    for group, heading in GROUPS.items():
        section = serve.add_argument_group(heading)
        for row in SETTINGS:
            if row.group == group:
                section.add_argument(row.flag, dest=row.name, metavar=_metavar(row), help=_help(row))
    return parser


def _metavar(row: Setting) -> str:
    words = {"listen": "HOST:PORT", "advertise": "HOST:PORT", "store": "URL", "meta": "URL", "config": "FILE"}
    return words.get(row.name, row.unit.upper() or "VALUE")


def _help(row: Setting) -> str:
    sentence = f"{row.help} Must be {row.kind.allowed}. Default: {row.default_shown}."
    return sentence.replace("`", "").replace("%", "%%")


if __name__ == "__main__":
    sys.exit(main())
