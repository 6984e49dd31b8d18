"""Score the embeddings of your own model: `python examples/score_embeddings.py`.

Here the "model" is a random projection of made-up measurements; put yours in the place of `embed`.
"""

import numpy as np

import voiceface


def embed(kind: str, people: list[str]) -> np.ndarray:
    """Stand-in for a model: float (clips, 16), more alike for clips of one person than for others."""
    rng = np.random.default_rng(0 if kind == "voice" else 1)
    rows = [np.random.default_rng(int(person[1:])).normal(size=16) for person in people]
    return np.array(rows) + 1.5 * rng.normal(size=(len(people), 16))


def main(out: str = "my-model.results.json") -> None:
    """Embed 40 people, score, and save the result for `voiceface compare`.

    Args:
        out: Result file to write.
    """
    people = [f"p{i}" for i in range(40) for _ in range(5)]  # whose each clip is: 40 people, five clips each
    clips = [f"clip{i}" for i in range(len(people))]  # their names, the same for every model that is to be compared
    known = {person: {"gender": "m" if int(person[1:]) % 2 else "f"} for person in people}
    results = voiceface.score(
        *(embed("voice", people), people, embed("face", people), people),
        voice_keys=[f"voice/{clip}" for clip in clips],
        face_keys=[f"face/{clip}" for clip in clips],
        identities=known,
        name="my model",
    )
    print(results.table())
    print(results.summary())
    results.save(out)
    print(f"saved: {out}; next: voiceface compare {out} OTHER.results.json")


if __name__ == "__main__":
    main()
