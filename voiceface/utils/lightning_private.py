"""All private members of Lightning that voiceface uses, so that a renamed one needs a fix only here."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

CLI_HOOKS = ("_get", "_instantiate_trainer", "_parse_ckpt_path", "_prepare_subcommand_kwargs", "_run_subcommand")
"""Methods of `LightningCLI` that `training.fit.FitCLI` overrides or calls."""


def logs_this_step(trainer: "pl.Trainer | None") -> bool:
    """Return whether the current step is a logging step; without a trainer every step is.

    The public step count differs if steps are skipped; Lightning's own LearningRateMonitor uses the same check.
    """
    return trainer is None or trainer._logger_connector.should_update_logs


def trainer_of(module: "pl.LightningModule") -> "pl.Trainer | None":
    """Return the trainer of a module, or None, in which case `module.trainer` would raise."""
    return module._trainer


def accumulates(trainer: "pl.Trainer") -> bool:
    """Return whether the last batch only accumulated gradients, without an optimiser step."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def cluster_environment(trainer: "pl.Trainer") -> "ClusterEnvironment":
    """Return the environment that started the processes."""
    return trainer._accelerator_connector.cluster_environment


def ignore_sigterm(trainer: "pl.Trainer") -> None:
    """Disable Lightning's SIGTERM handling.

    Its handler waits for the other processes inside the handler; and before every step it asks the first process
    whether there was a signal, and waits for the GPU.
    """
    trainer._signal_connector._sigterm_notifier_fn = lambda *_: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
