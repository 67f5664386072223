"""``h36m-amass view``."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from .completion import complete_joint_set
from .failures import printable, reported


def view(
    store: Annotated[str, typer.Argument(help="Store to look at.", metavar="STORE", path_type=str)],
    second: Annotated[
        str | None,
        typer.Argument(
            help="Another store, to show its sequences beside those of STORE.", metavar="STORE2", path_type=str
        ),
    ] = None,
    joint_set: Annotated[
        list[str] | None,
        typer.Option(
            help="Joint set to show, of both stores if two are given; give two to show two beside each other.",
            show_default="its first",
            metavar="NAME",
            autocompletion=complete_joint_set,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--filter",
            help="Begin with the sequences whose DATASET/SUBJECT/SEQUENCE has each of these words.",
            show_default="all",
            metavar="WORDS",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address of this machine to serve on. Any but a loopback one, as 127.0.0.1 is, lets "
            "others see the data.",
            metavar="ADDRESS",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to serve on, or the next free one; 0 for any.", metavar="PORT")
    ] = 8080,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
) -> None:
    """Watch sequences in the browser, alone or two side by side, until Ctrl-C."""
    sets = joint_set or []
    if len(sets) > 2:
        raise typer.BadParameter("at most two sequences are shown, so give --joint-set at most twice")
    with reported():
        from h36m_amass.store.store import Store
        from h36m_amass.viewer import require_viser
        from h36m_amass.viewer.serving import free_port, only_this_machine, page_url, tunnel

        require_viser()
        first_set, second_set = (sets + sets)[:2] if sets else (None, None)
        first, other = Store(store, first_set), Store(second or store, second_set)
        port = free_port(host, port)
        from h36m_amass.viewer.page import Shown, serve

        def ready(served: int) -> None:
            url = page_url(host, served)
            typer.echo(printable(f"{url}  (Ctrl-C ends it)"))
            if only_this_machine(host):
                typer.echo(printable(f"from another machine: {tunnel(host, served)}, then open {url} there"))
            else:
                typer.echo(f"warning: whoever reaches port {served} of this machine sees the data", err=True)
            if browser:
                webbrowser.open(url)

        with first, other:
            serve(Shown(first, other, second is not None or len(sets) > 1, text or ""), host, port, ready)
