"""Draw the README's picture: `python docs/images/ranked.py docs/images/ranked.png`.

Four voices of synthetic people who are in no split of the built-in corpus, and for each five faces in the order of
zoo/trinet-synthetic, its own person's framed. Two of the four are right, as on the test people: 1:5 accuracy 50.1 %.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt
from PIL import Image

import voiceface
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import FACE_MARGIN, face_clip
from voiceface.data.synthetic.voice import voice_clip

ZOO = Path(__file__).parents[2] / "zoo/trinet-synthetic/src/voiceface_trinet_synthetic"
FIRST, ROWS, FACES, GREEN = 6_010, 4, 5, "#16853f"


def main(out: str) -> None:
    """Draw all rows."""
    model = voiceface.load(ZOO)
    figure, axes = plt.subplots(
        ROWS, FACES + 1, figsize=(9, 5.9), width_ratios=[2.1, *[1] * FACES], layout="constrained"
    )
    for row, line in enumerate(axes):
        people = [person(SyntheticOptions(), FIRST + FACES * row + i) for i in range(FACES)]
        voice, faces = np.asarray(voice_clip(people[0], 0)[0]), [face_clip(one, 1)[0] for one in people]
        ranked = model.match(voice, faces, detect=False, margin=FACE_MARGIN)
        spectrogram(line[0], voice)
        for place, (ax, found) in enumerate(zip(line[1:], ranked, strict=True)):
            ax.imshow(faces[found.place])
            frame(ax, found.place == 0)
            ax.set_xlabel(f"{found.similarity:.2f}", color=GREEN if found.place == 0 else "#333333")
            if row == 0:
                ax.set_title(("1st", "2nd", "3rd", "4th", "5th")[place], fontsize=10)
    axes[0, 0].set_title("a voice ...", fontsize=10)
    figure.suptitle("... and five faces, the likeliest first. Framed: the speaker's own", fontsize=12)
    figure.savefig(out, dpi=100)
    with Image.open(out) as picture:  # 256 colours: a third of the size
        picture.convert("RGB").quantize(256).save(out, optimize=True)


def spectrogram(ax: Any, voice: np.ndarray) -> None:
    """The first 2.5 s, up to 5 kHz."""
    ax.specgram(voice[:40_000].astype(float) + 1e-3, NFFT=400, noverlap=240, Fs=16_000, cmap="magma", vmin=-60)
    ax.set(ylim=(0, 5_000))
    frame(ax, False)


def frame(ax: Any, own: bool) -> None:
    """No ticks; a frame for the own person's."""
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=own, color=GREEN, linewidth=5)


if __name__ == "__main__":
    main(sys.argv[1])
