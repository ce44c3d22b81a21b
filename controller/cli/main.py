"""The command `anyvip`. Exit codes: 0 done, 1 failed, 2 mistake in usage or configuration.

Imports little, so that a command that only asks the daemon answers immediately.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from controller.cli import commands
from controller.cli.output import complain, say
from controller.config import paths
from controller.config.problem import ConfigError
from health.errors import AnyvipError

_DESCRIPTION = "One virtual IP, exactly one owner, on any metal and any cloud."
_EPILOG = """\
exit codes: 0 done, 1 failed, 2 mistake in usage or configuration; `status --check` has its own.
The configuration file is --config FILE, or else $ANYVIP_CONFIG, or else /etc/anyvip/anyvip.yml. Commands that ask the
running daemon read only state_dir from it (default: /run/anyvip) and use the socket anyvip.sock there. With --socket
PATH they need no file, nor if they may not read the usual one.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone. Without this the interpreter reports it again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return commands.FAILED
    return code


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["demo"]:
        from controller import demo  # noqa: PLC0415  (it has a parser of its own)

        return demo.run(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except ConfigError as error:
        complain(error)
        return commands.USAGE
    except AnyvipError as error:
        complain(f"anyvip: {error}")
        return commands.FAILED
    except KeyboardInterrupt:
        return commands.DONE if getattr(options, "watch", False) else commands.FAILED
    return code


class _Version(argparse.Action):
    """Prints the version, which it looks up only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata  # noqa: PLC0415  (slow)

        say(f"anyvip {metadata.version('anyvip')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anyvip",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(verbs)
    _add_check_config(verbs)
    _add_doctor(verbs)
    _add_status(verbs)
    _add_switchover(verbs)
    _add_pause(verbs)
    _add_history(verbs)
    _add_explain(verbs)
    verbs.add_parser("demo", help="show a failover, a freeze and a switchover in network namespaces", add_help=False)
    return parser


def _add(verbs: Any, name: str, command: Any, text: str, more: str = "") -> argparse.ArgumentParser:
    """Adds a subcommand. Its own help shows `text` and `more`; the list of commands shows `text` only."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip(), allow_abbrev=False
    )
    parser.set_defaults(command=command)
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("ANYVIP_CONFIG"),
        help=f"the configuration file (default: $ANYVIP_CONFIG, or else {paths.CONFIG_FILE})",
    )
    return parser


def _add_asking(verbs: Any, name: str, command: Any, text: str, more: str = "") -> argparse.ArgumentParser:
    """Adds a subcommand that asks the running daemon."""
    parser = _add(verbs, name, command, text, more)
    parser.add_argument(
        "--socket", metavar="PATH", help=f"the daemon's socket, such as {paths.STATE_DIR}/{paths.SOCKET}; needs no file"
    )
    return parser


def _add_run(verbs: Any) -> None:
    parser = _add(
        verbs,
        "run",
        commands.run,
        "run the daemon in the foreground",
        "SIGTERM hands every group over and ends the daemon; in a paused cluster the groups stay. SIGHUP applies what "
        "has changed in the configuration.",
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="write key=value pairs, or JSON (default: text)"
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="the lowest level of the lines that go to stderr (default: info)",
    )


def _add_check_config(verbs: Any) -> None:
    parser = _add(
        verbs,
        "check-config",
        commands.check_config,
        "check the configuration file",
        "Prints one line on stderr for each mistake: file, line, key, what was found, what is allowed.",
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the file, and exit")
    parser.add_argument(
        "--no-host-checks",
        action="store_true",
        help="do not check that the interfaces, users and programs in it exist; for use on another machine",
    )
    parser.add_argument(
        "--ask-store",
        action="store_true",
        help="read from the store ten times (15 s at most, no writes); fail if the lease is too short for its answers",
    )


def _add_doctor(verbs: Any) -> None:
    parser = _add(
        verbs,
        "doctor",
        commands.doctor,
        "report what would break a failover to this node",
        "Asks the kernel, the store and every configured provider. Needs no running daemon, and changes nothing. "
        "The exit code is 1 if a failover would break. Each finding ends with the code of its check, which "
        "docs/findings.md explains.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object on one line")


def _add_status(verbs: Any) -> None:
    parser = _add_asking(verbs, "status", commands.status, "show this node, its groups and the members of the cluster")
    parser.add_argument("--json", action="store_true", help="print JSON, one object on one line")
    parser.add_argument(
        "--check",
        action="store_true",
        help="print one line for monitoring; exit code 0: all groups are served and have a standby, 1: one has no "
        "standby, 2: one is not served, 3: not known",
    )
    parser.add_argument("--watch", action="store_true", help="show it again every second, until interrupted")


def _add_switchover(verbs: Any) -> None:
    parser = _add_asking(
        verbs,
        "switchover",
        commands.switchover,
        "hand a group over to another node",
        "Works on any node of the cluster. Returns when the new node serves.",
    )
    parser.add_argument("group", metavar="GROUP", help="the group to hand over")
    parser.add_argument("--to", metavar="NODE", help="the node that takes over (default: the next by priority)")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=30.0,
        help="how long to wait for the new node to serve, in seconds, at most 600 (default: 30)",
    )


def _add_pause(verbs: Any) -> None:
    parser = _add_asking(
        verbs,
        "pause",
        commands.pause,
        "keep every group of the cluster where it is",
        "The active nodes continue to serve and to renew. A node that fails is not replaced until the pause ends. A "
        "pause of a paused cluster replaces the time and the reason.",
    )
    parser.add_argument(
        "--for",
        metavar="DURATION",
        dest="seconds",
        type=_duration,
        help="end the pause after this time, such as 45s, 30m, 2h, 1h30m or 1d, at most 30d "
        "(default: until `anyvip resume`)",
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for others to read in `anyvip status`")
    _add_asking(verbs, "resume", commands.resume, "end the pause")


def _add_history(verbs: Any) -> None:
    parser = _add_asking(
        verbs, "history", commands.history, "show this node's last 1,000 transitions, with the duration of each stage"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object on a line for each entry")
    parser.add_argument("--group", metavar="GROUP", help="show only the entries of this group")
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="tell what this node has seen of the whole cluster: each change of owner, from whom, why, and for how "
        "long nobody served",
    )


def _add_explain(verbs: Any) -> None:
    parser = _add_asking(
        verbs,
        "explain",
        commands.explain,
        "tell why a group has its owner",
        "Tells from whom the owner has it, why, and for how long nobody served. Works on any node of the cluster.",
    )
    parser.add_argument("group", metavar="GROUP", help="the group")
    parser.add_argument("epoch", metavar="EPOCH", nargs="?", type=int, help="an earlier epoch (default: the last)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object on a line for each entry")


def _duration(text: str) -> float:
    """Returns the seconds of a duration as people write it: ``45s``, ``30m``, ``1h30m``, ``1.5h``, ``1d``."""
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text)
    units = (86400.0, 3600.0, 60.0, 1.0)
    total = sum(float(n) * unit for n, unit in zip(parts.groups(), units, strict=True) if n) if parts else 0.0
    if not 1 <= total <= 30 * 86400:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: from 1s to 30d, such as 45s, 30m, 2h or 1h30m")
    return total


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 600:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: seconds above 0, at most 600")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
