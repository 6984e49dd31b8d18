"""Match voices and faces with a pretrained checkpoint: `python examples/own_people.py [VOICE FACE FACE ...]`.

Without files it takes the synthetic example of the documentation.
`pip install ./zoo/trinet-synthetic` installs the checkpoint.
"""

import sys
from pathlib import Path

import voiceface

EXAMPLE = Path(__file__).parents[1] / "docs/example"


def main(files: list[str], checkpoint: str = "trinet-synthetic") -> None:
    """Rank faces for a voice, by matching and by embedding.

    Args:
        files: A voice and faces; empty: the example.
        checkpoint: What `voiceface.load` takes.
    """
    voice, *faces = files or [str(EXAMPLE / name) for name in ("voice.flac", "a.jpg", "b.jpg")]
    model = voiceface.load(checkpoint)
    print(model)
    # The example's faces are cut out already; in your own pictures the face is found first (extra `prepare`).
    detect = bool(files)
    for rank, one in enumerate(model.match(voice, faces, detect=detect), 1):
        print(f"{rank}. {faces[one.place]}  similarity {one.similarity:.2f}")
    similarity = model.similarity(model.embed_voice(voice), model.embed_face(faces, detect=detect))
    print(f"the same from embeddings: {similarity[0].tolist()}")


if __name__ == "__main__":
    main(sys.argv[1:])
