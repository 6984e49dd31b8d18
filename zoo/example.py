"""Write docs/example: a voice and two face crops of synthetic people who are in no split of the built-in corpus."""

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import FACE_MARGIN, face_clip
from voiceface.data.synthetic.voice import voice_clip

OUT = Path(__file__).parents[1] / "docs/example"
FIRST = 5_000


def main() -> None:
    options = SyntheticOptions()
    speaker = person(options, FIRST)
    others = (person(options, number) for number in range(FIRST + 1, FIRST + 99))
    other = next(one for one in others if one.truth.gender != speaker.truth.gender)
    wave = voice_clip(speaker, 0)[0]
    soundfile.write(OUT / "voice.flac", np.asarray(wave), 16_000)
    for name, who in (("a", other), ("b", speaker)):
        picture = Image.fromarray(face_clip(who, 1)[0])
        edge = picture.width * (1 - 1 / FACE_MARGIN) / 2  # to the face box, which most networks want
        picture.crop((edge, edge, picture.width - edge, picture.width - edge)).save(OUT / f"{name}.jpg", quality=92)


if __name__ == "__main__":
    main()
