"""``h36m-amass info``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .completion import complete_joint_set, complete_key
from .failures import printable

if TYPE_CHECKING:
    from h36m_amass.store.summary import Node


def info(
    store: str = typer.Argument(..., help="Store to show.", metavar="STORE", path_type=str),
    key: str | None = typer.Argument(
        None, help="DATASET, DATASET/SUBJECT or DATASET/SUBJECT/SEQUENCE.", metavar="KEY", autocompletion=complete_key
    ),
    joint_set: str | None = typer.Option(
        None,
        help="Show only this joint set of the store.",
        show_default="all",
        metavar="NAME",
        autocompletion=complete_joint_set,
    ),
    depth: int | None = typer.Option(
        None,
        min=1,
        max=3,
        help="Levels of the tree.",
        show_default="as many as fit on a screen or two, with --json all",
        metavar="NUMBER",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object, for programs."),
    plot: Path | None = typer.Option(
        None,
        help="Draw hours, sequence lengths and frame rates to this .png, .pdf or .svg (extra plot).",
        show_default="none",
        metavar="FILE",
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the --plot FILE if it exists."),
) -> None:
    """Show what is inside a store, or inside one of its datasets, subjects or sequences."""
    if overwrite and plot is None:
        raise typer.BadParameter("--overwrite replaces the file of --plot, which is not given")
    from h36m_amass.store import summary as describe
    from h36m_amass.store.selection import StoredSequence
    from h36m_amass.store.store import Store

    with Store(store, joint_set) as opened:
        key = None if key is None else key.strip("/")
        item = opened if key is None else opened[key]
        if depth is not None and isinstance(item, StoredSequence):
            raise typer.BadParameter("--depth limits a tree, and a sequence has none")
        root = describe.tree(opened, key, joint_set)
        if plot is not None:
            from h36m_amass.plot.overview import draw_overview

            draw_overview(opened, root, plot, overwrite=overwrite)
        if as_json:
            typer.echo(json.dumps(describe.as_object(opened, root, joint_set, depth), indent=2))
            return
        if isinstance(item, StoredSequence):
            lines = describe.describe_sequence(item, joint_set)
        else:
            lines = [describe.summary(root), *(describe.provenance(opened, joint_set) if key is None else ())]
        for line in lines:
            typer.echo(printable(line))
        if not isinstance(item, StoredSequence):
            _print_tree(root, depth)
        if plot is not None:
            typer.echo(printable(f"picture       {plot}"))


def _print_tree(root: "Node", depth: int | None) -> None:
    from h36m_amass.store import summary as describe
    from h36m_amass.wording import bytes_as_text

    from .console import console, print_table

    unicode = console().encoding.startswith("utf")
    through, corner, bar = ("├── ", "└── ", "│   ") if unicode else ("|-- ", "`-- ", "|   ")
    levels = describe.fitting_depth(root) if depth is None else depth
    title = " / ".join(describe.LEVELS[describe.LEVELS.index(root.kind) + 1 :][:levels])
    rows: list[tuple[str | int, ...]] = []
    for lasts, node in describe.flattened(root, levels):
        # Names on the first level stand at the margin: the store has no line in the tree.
        branch = "".join("    " if last else bar for last in lasts[1:-1])
        branch += (corner if lasts[-1] else through) if len(lasts) > 1 else ""
        amounts = node.sequences, node.frames, describe.duration(node.seconds), bytes_as_text(node.bytes)
        rows.append((branch + node.name, *amounts))
    print_table((title, "sequences", "frames", "duration", "size"), rows, amounts=True)
    hidden = root.sequences - sum(node.kind == describe.LEVELS[-1] for _, node in describe.flattened(root, levels))
    if hidden:
        typer.echo(
            f"not shown: {hidden:,} sequences; --depth {describe.deepest(root)} shows them, or KEY those of one part"
        )
