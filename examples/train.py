"""Train TriNet on the built-in synthetic corpus and read the result: `python examples/train.py`, four minutes."""

import voiceface


def main(steps: int = 800, **options: object) -> None:
    """Train, print what came out, draw the learning curve and the result.

    Args:
        steps: Optimiser steps.
        options: Any other option of `voiceface.fit`.
    """
    run = voiceface.fit("trinet", steps=steps, **options)
    print(run.results.table())
    print(run.results.summary())
    same_gender = run.results.find("accuracy", "v2f", stratum="G")
    if same_gender:
        print(f"Among people of the same gender: {100 * same_gender['value']:.1f} %")
    run.plot().savefig(run.folder / "curve.png")
    run.results.plot_intervals().savefig(run.folder / "intervals.png")
    print(f"pictures: {run.folder / 'curve.png'}, {run.folder / 'intervals.png'}")


if __name__ == "__main__":
    main()
