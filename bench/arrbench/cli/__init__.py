"""The command line: one file a command, imported when it is called for."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from typing import Any, NoReturn

import click

from arrbench.errors import TrialError, UsageError, one_line

COMMANDS = ("run", "list", "show", "rank", "data", "models", "export", "publish", "doctor")
INTERRUPTED = 130


class Commands(click.Group):
    """Finds a command in the module of its name, and gives every command --debug."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"arrbench.cli.{cmd_name}").command
        debug = click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks.")
        if not any(p.name == "debug" for p in command.params):
            command.params.append(debug)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from arrbench.plugins import nearest

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UsageError(f"unknown command {args[0]!r}; {nearest(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="arrbench")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def commands() -> None:
    """Benchmark ranking architectures: quality against latency, on equal terms."""


def main() -> NoReturn:
    """Run a command; 0 well, 1 a trial failed, 2 the user's mistake, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a sign that can't be written ends no command
    try:
        status: Any = commands.main(prog_name="arrbench", standalone_mode=False)
    except KeyboardInterrupt:
        _stop("interrupted; what was finished is recorded", INTERRUPTED)
    except click.exceptions.Abort:
        _stop("interrupted; what was finished is recorded", INTERRUPTED)
    except click.ClickException as error:
        _stop(one_line(error.format_message()), 2)
    except UsageError as error:
        _stop(str(error), 2)
    except TrialError as error:
        _stop(str(error), 1)
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        _stop(f"{type(error).__name__}: {one_line(error)} (--debug shows where)", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _stop(message: str, status: int) -> NoReturn:
    if "--debug" in sys.argv:
        traceback.print_exc()
    click.echo(f"arrbench: {message}", err=True)
    sys.exit(status)
