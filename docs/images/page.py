"""Take docs/images/page.webp, the top of the leaderboard's page, with Chromium and playwright.

voiceface compare zoo/*/src/*/results.json --out page.html
python docs/images/page.py page.html
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).with_name("page.webp")

with sync_playwright() as started:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1400, "height": 1130})
    page.goto(Path(sys.argv[1]).resolve().as_uri())
    shot = page.screenshot()
    browser.close()
Image.open(io.BytesIO(shot)).save(OUT, quality=85)
print(f"{OUT.name}: {OUT.stat().st_size:,} bytes")
