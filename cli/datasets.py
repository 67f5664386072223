"""``h36m-amass datasets``."""

import typer

from .failures import printable


def datasets(
    amass_dir: str | None = typer.Argument(
        None, help="AMASS folder: mark the datasets that are in it.", metavar="AMASS_DIR", path_type=str
    ),
) -> None:
    """List the datasets of AMASS and all their names; --dataset takes any of them."""
    from h36m_amass.datasets import CATALOGUE
    from h36m_amass.recordings.inventory import Folder, take_inventory

    from .console import print_table

    def counted(folders: tuple[Folder, ...]) -> str:
        counts = ["archive" if folder.recordings is None else f"{folder.recordings:,}" for folder in folders]
        return printable(", ".join(f"{f.name} ({count})" for f, count in zip(folders, counts, strict=True)))

    columns = "dataset", "archive", "unpacks to", "other names"
    rows = [
        (dataset.name, dataset.archive, ", ".join(dataset.folders or (dataset.archive,)), ", ".join(dataset.others))
        for dataset in CATALOGUE
    ]
    if amass_dir is None:
        print_table(columns, rows)
        return
    inventory = take_inventory(amass_dir)
    present = [counted(folders) for _, folders in inventory.datasets]
    print_table((*columns, "recordings"), [(*row, count) for row, count in zip(rows, present, strict=True)])
    typer.echo(f"present: {sum(map(bool, present))} of {len(present)} datasets")
    if inventory.unknown:
        typer.echo(f"of no known dataset: {counted(inventory.unknown)}")
