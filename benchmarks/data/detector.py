"""How fast are faces read on one core, as they are and with detection, against the libraries alone, in one run?

`bare` of `asis` is Pillow alone: decode the JPEG, scale its middle to 224 px, encode it. `bare` of `detect` is this and
the detector on decoded pictures. Pictures are rendered: crops of 224 px, as VoxCeleb1's faces, and frames of 1280 x 720
px, as of videos, one face each, with a camera's grain. Times are of the processor, one thread.

    python -m benchmarks.data.detector [--pictures 12]
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.machine import describe
from PIL import Image

from voiceface.data.corpus.bundles import JPEG_QUALITY, encode_jpeg
from voiceface.data.prepare.media.detector import shared_detector
from voiceface.data.prepare.media.faces import Face, FaceOptions, read_faces
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip

REPEATS = 5
AT_ONCE = 16
DETECT = FaceOptions(faces="detect")
SIZES = {"crop of 224 px": (224, 224, 224), "frame of 1280 x 720 px": (1280, 720, 500)}


def write_pictures(folder: Path, count: int, width: int, height: int, side: int) -> list[Path]:
    """JPEG files of one face, `side` px with its surroundings, in the middle of a wall, with grain of 4 levels."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        face = Image.fromarray(face_clip(person(SyntheticOptions(), number), 0)[0])
        picture = Image.new("RGB", (width, height), (95, 90, 100))
        picture.paste(face.resize((side, side), Image.Resampling.BICUBIC), ((width - side) // 2, (height - side) // 2))
        grainy = np.asarray(picture) + rng.normal(0, 4, (height, width, 3))
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(grainy.round().clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def ways(paths: list[Path]) -> dict[str, Callable[[], None]]:
    """What is timed; each handles all pictures once."""
    decoded = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    detector = shared_detector(DETECT.device, DETECT.thresholds)
    if not all(detector.detect(decoded)):
        raise SystemExit("a rendered face was not found")

    def pillow_alone() -> None:
        for path in paths:
            with Image.open(path) as image:
                left, top = (image.width - image.height) // 2, 0
                box = (left, top, left + image.height, image.height)
                face = image.resize((DETECT.size, DETECT.size), Image.Resampling.LANCZOS, box)
            face.save(io.BytesIO(), "JPEG", quality=JPEG_QUALITY, subsampling=0)

    def detector_alone() -> None:
        detector.detect(decoded)

    def read(options: FaceOptions) -> None:
        for start in range(0, len(paths), AT_ONCE):
            for result in read_faces(paths[start : start + AT_ONCE], options):
                assert isinstance(result, Face)
                encode_jpeg(result.pixels)

    return {
        "Pillow alone": pillow_alone,
        "detector alone": detector_alone,
        "asis": lambda: read(FaceOptions()),
        "detect": lambda: read(DETECT),
    }


def measure(paths: list[Path]) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {}
    timed = ways(paths)
    for run in timed.values():
        run()
    for _ in range(REPEATS):
        for name, run in timed.items():
            start = time.process_time()
            run()
            seconds.setdefault(name, []).append(time.process_time() - start)
    pure, detector, asis, detect = (seconds[name] for name in seconds)
    return {
        "pictures_per_second_median": {name: round(len(paths) / median(s), 1) for name, s in seconds.items()},
        "share_of_bare_median": {
            "asis": round(median(b / o for b, o in zip(pure, asis, strict=True)), 3),
            "detect": round(median((b + d) / o for b, d, o in zip(pure, detector, detect, strict=True)), 3),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=12)
    options = parser.parse_args()
    results = {}
    for name, size in SIZES.items():
        with TemporaryDirectory() as folder:
            results[name] = measure(write_pictures(Path(folder), options.pictures, *size))
        print(name)
        for way, rate in results[name]["pictures_per_second_median"].items():
            share = results[name]["share_of_bare_median"].get(way)
            print(f"  {way:24s} {rate:8.1f} pictures/s" + (f"   x {share:.2f} of bare" if share else ""))
    result = {
        "question": "pictures per second on one core, as they are and with detection, against the libraries alone",
        "pictures": options.pictures,
        "results": results,
        "machine": describe(),
    }
    out = Path(__file__).parents[1] / "results" / "detector.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
