"""``h36m-amass view``."""

import webbrowser

import typer

from .completion import complete_joint_set
from .failures import printable
from .options import Camera, human36m_camera


def view(
    store: str = typer.Argument(..., help="Store to look at.", metavar="STORE", path_type=str),
    second: str | None = typer.Argument(
        None, help="Another store, to show its sequences beside those of STORE.", metavar="STORE2", path_type=str
    ),
    joint_set: list[str] | None = typer.Option(
        None,
        help="Joint set to show, of both stores if two are given; give two to show two beside each other.",
        show_default="its first",
        metavar="NAME",
        autocompletion=complete_joint_set,
    ),
    camera: Camera = None,
    text: str | None = typer.Option(
        None,
        "--filter",
        help="Begin with the sequences whose DATASET/SUBJECT/SEQUENCE has each of these words.",
        show_default="all",
        metavar="WORDS",
    ),
    host: str = typer.Option(
        "127.0.0.1",
        help="Address of this machine to serve on. Others can see the data, except at a loopback one, like 127.0.0.1.",
        metavar="ADDRESS",
    ),
    port: int = typer.Option(
        8080, min=0, max=65535, help="Port to serve on, or the next free one; 0 for any.", metavar="PORT"
    ),
    browser: bool = typer.Option(False, "--open", help="Open the page in this machine's browser."),
) -> None:
    """Watch sequences in the browser, alone or two side by side, until Ctrl-C."""
    sets = joint_set or []
    if len(sets) > 2:
        raise typer.BadParameter("at most two sequences are shown, so give --joint-set at most twice")
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
            typer.echo(f"warning: anyone who can reach port {served} of this machine sees the data", err=True)
        if browser:
            webbrowser.open(url)

    with first, other:
        side_by_side, seen_by = second is not None or len(sets) > 1, None if camera is None else human36m_camera(camera)
        serve(Shown(first, other, side_by_side, text or "", seen_by), host, port, ready)
