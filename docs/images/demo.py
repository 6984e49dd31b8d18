"""Makes demo_light.png and demo_phone.png: `voiceface demo trinet-synthetic`, in a Chromium, on an example of its own.

python docs/images/demo.py [CHECKPOINT]
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent
CHECKPOINT = sys.argv[1] if len(sys.argv) > 1 else "trinet-synthetic"
PICTURES = {"demo_light.png": (1100, 1030), "demo_phone.png": (400, 1990)}  # width and height, pixels


def main() -> None:
    """Serve the page, press its buttons, take the pictures."""
    words = [sys.executable, "-m", "voiceface", "demo", CHECKPOINT, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as started:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (width, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{address}?__theme=light")
            page.get_by_role("button", name="Person B's voice").first.click()
            page.locator("#v2f-candidates img").nth(2).wait_for()
            page.locator("#v2f-go").click()
            page.locator("#v2f-answer li").nth(2).wait_for()
            page.wait_for_timeout(1000)  # the waveform is drawn, the progress text fades
            shot = Image.open(io.BytesIO(page.screenshot()))
            shot.convert("P", palette=Image.Palette.ADAPTIVE).save(FOLDER / name, optimize=True)
        server.terminate()


if __name__ == "__main__":
    main()
