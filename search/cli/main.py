"""The command line: `understudy COMMAND`. Each command is a module of this package, imported when it is called."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType

import click

from understudy import UnderstudyError, __version__, unknown_name

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "search": "Search for students of a teacher within a hardware budget.",
        "resume": "Go on with a run that was interrupted or killed.",
        "show": "The front, the students and the candidates of a run, in the terminal.",
        "report": "Write a run's report (one HTML file) and its front as PNG and SVG.",
        "compile": "Compile any ONNX file or torch.export program into a bundle.",
        "deploy": "Write the bundle of a student: what its device needs, and nothing else.",
        "update": "Teach a student new data or classes without forgetting the earlier ones; roll back.",
        "confirm": "Measure a run's front and its neighbours on a board, and correct the front.",
        "predict": "What a bundle's network says of an image, a recording or a text, or of arrays.",
        "bench": "Measure a bundle's student again.",
        "board": "Serve a device to searches elsewhere; the tracker; what it lists.",
        "calibrate": "Time kernels on this computer, so that latencies are predicted well.",
        "methods": "The ways of teaching, and their settings.",
        "profiles": "The hardware profiles, and what they say.",
        "doctor": "Check versions, compilers and this computer; say how to mend what is wrong.",
        "completion": "Print the completion script of a shell.",
    }
)
"""Every command with its one line of help: what `understudy --help` shows without importing any of them."""


class _Commands(click.Group):
    """Commands looked up by name, so that `predict` does not pay for what `search` imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"search.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(unknown_name("command", args[0], COMMANDS), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="understudy")
def group() -> None:
    """Find, distil and compile the small network that can stand in for a big one on given hardware."""


def main() -> None:
    """The entry point: an error of the user's is one sentence and exit status 1, Ctrl-C is 130."""
    try:
        group(standalone_mode=False, prog_name="understudy")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UnderstudyError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        click.echo(
            f"Error: no space left on the disk ({error.filename}): free some, then `understudy resume`", err=True
        )
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
