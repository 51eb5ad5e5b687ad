"""`corrente demo` and `corrente replay` as commands: their options, and how their errors are told."""

from __future__ import annotations

import json
import signal
import sys
from typing import Annotated, Any

import typer


def demo(
    seconds: Annotated[float, typer.Option(min=5, help="How long the shop is open.")] = 90,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the HTTP server, 0 for any free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="No live view; the last line is one JSON object.")] = False,
    seed: Annotated[int, typer.Option(help="Of the shop and its shoppers.")] = 0,
) -> None:
    """Watch a shop learn: broker, Redis, worker, server and shoppers on this machine, nothing to install."""
    from rich.console import Console

    from simulators.children import ChildEnded
    from simulators.demo import Story, run
    from simulators.demo_view import LiveView, PlainLines
    from simulators.embedded import NotInstalled
    from simulators.system import NotStarted

    def ended(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ended)  # like Ctrl-C: every part ends in its order
    story = Story(seconds)
    console = Console()
    view = (
        LiveView(console) if console.is_terminal and not as_json else PlainLines(sys.stderr if as_json else sys.stdout)
    )
    try:
        with view:
            run(story, port, view, seed)
    except KeyboardInterrupt:
        pass
    except (NotInstalled, NotStarted, ChildEnded) as error:
        print(f"corrente demo: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(story.summary()), flush=True)
    else:
        model, popularity = story.hit_rate.overall
        print(
            f"learned {story.events_learned:,} of {story.events_sent:,} events in {story.version} versions; "
            f"HR@10 {model:.3f}, popularity {popularity:.3f} ({story.hit_rate.tests:,} tests); "
            f"rollback {'exact' if story.rollback_ok else 'not shown'}. Nothing is left running."
        )
