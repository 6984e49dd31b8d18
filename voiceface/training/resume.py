"""Settings that a resumed run must share with the original run.

The method's options are checked by `Method.on_load_checkpoint`, the corpus, the batch and the number of processes by
`VoxVGGDataModule.load_state_dict`; the rest is checked here. Anything else may change on resume: where and how fast the
run computes, how long, how often it validates, saves and logs, and how it is evaluated.
"""

from collections.abc import Mapping
from typing import Any

from voiceface.utils.errors import UserError

FIXED = (
    "seed_everything",
    "negatives",
    "trainer.precision",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_val",
    "trainer.gradient_clip_algorithm",
    "trainer.sync_batchnorm",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
)

# Data options that do not affect what is trained on, and the seed, in which runs of one setting differ.
OWN = ("root", "workers", "start_method", "evaluation_bundles", "evaluation_on_error", "seed", "cache_frozen")

# Equivalent values; Lightning takes null for its default.
SAME: dict[str, dict[Any, Any]] = {
    "trainer.precision": {
        None: "32-true",
        32: "32-true",
        "32": "32-true",
        16: "16-mixed",
        "16": "16-mixed",
        "bf16": "bf16-mixed",
    },
    "trainer.gradient_clip_algorithm": {None: "norm"},
    "trainer.limit_train_batches": {None: 1.0},
}


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the options of a run that must not change.

    Args:
        config: LightningCLI's configuration of `fit`.

    Returns:
        Option name: value.
    """
    found = {}
    for name in FIXED:
        group, _, option = name.rpartition(".")
        value = (config[group] if group else config)[option]
        found[name] = SAME.get(name, {}).get(value, value)
    return found


def of_training(config: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the settings of a training, besides the method's options and seed, for the result file.

    Args:
        config: LightningCLI's configuration of `fit`.

    Returns:
        Option name: value. Two runs with the same settings are two samples of one training.
    """
    found = {name: value for name, value in settings(config).items() if name != "seed_everything"}
    found["trainer.val_check_interval"] = config["trainer"]["val_check_interval"]  # which weights can be the best
    return found | {f"data.{name}": value for name, value in dict(config["data"]).items() if name not in OWN}


def refuse_other(saved: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Reject a resume with other settings.

    Args:
        saved: Settings of the checkpoint; settings missing from it are not compared.
        mine: Settings of this run.

    Raises:
        UserError: The settings differ; the message names the first difference, with both values.
    """
    for name, value in mine.items():
        if saved.get(name, value) != value:
            raise UserError(
                f"--ckpt_path: the run had --{name} {saved[name]}, now it is {value}; resume with what it had"
            )
