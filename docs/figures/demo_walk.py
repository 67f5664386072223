"""Make ``docs/images/demo-walk.png`` of the demo's picture: the same with fewer colours, a third of the bytes.

Run by ``make figures``, after the demo.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    with Image.open(ROOT / "demo" / "walk.png") as picture:
        picture.convert("RGB").quantize(64).save(ROOT / "docs" / "images" / "demo-walk.png", optimize=True)


if __name__ == "__main__":
    main()
