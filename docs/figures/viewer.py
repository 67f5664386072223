"""Draw docs/images/viewer.png: the page of ``h36m-amass view``, in a headless Chromium, on the demo's store.

    python docs/figures/viewer.py [STORE]

Run by ``make figures``, last: Chromium has to be installed. STORE is what ``make demo`` makes unless it is given.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).resolve().parents[1] / "images" / "viewer.png"
ARGUMENTS = (
    *("--no-sandbox", "--headless=new", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "--disable-background-networking",
)
FRAME = "+10"


def main() -> None:
    """Start the viewer, choose the walk, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default="demo/amass_h36m.h5")
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed; install it, as with: apt-get install chromium")
    command = [
        str(Path(sys.executable).with_name("h36m-amass")),
        "view",
        parser.parse_args().store,
        "--port",
        "0",
        "--filter",
        "pretend s1 walk",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as viewer:
        try:
            line = viewer.stdout.readline() if viewer.stdout else ""
            take_picture(line.split()[0], chromium)
        finally:
            viewer.terminate()


def take_picture(url: str, chromium: str) -> None:
    """Save the page, a little way into the walk, when all of it is drawn."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1100, "height": 720})
        page.goto(url)
        page.get_by_text(re.compile(r"Frame 0 of")).first.wait_for()
        page.get_by_label("Trajectory").click()
        page.get_by_role("option", name="left_wrist").click()
        page.get_by_text(FRAME, exact=True).click()
        page.get_by_text(re.compile(r"Frame 10 of")).first.wait_for()
        notice = page.get_by_text("Software WebGL rendering detected")  # of viser's, about this browser
        if notice.count():
            notice.locator("xpath=ancestor::*[.//button][1]").get_by_role("button").first.click()
        page.wait_for_timeout(6000)  # what comes in, comes in slowly
        page.screenshot(path=PICTURE, timeout=60_000)
        browser.close()


if __name__ == "__main__":
    main()
