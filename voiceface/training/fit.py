"""`voiceface fit`: LightningCLI with a run folder, the metrics callback, and a test at the end."""

import ctypes
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
import torchaudio  # noqa: F401  # an error of this import inside jsonargparse would be a hundred lines
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from voiceface.checkpoints.weights import add_results, save_checkpoint
from voiceface.data.corpus.leaks import identities_of
from voiceface.data.module import VoxVGGDataModule
from voiceface.evaluation.calibration import fit_calibration
from voiceface.evaluation.callback import CrossModalMetrics
from voiceface.evaluation.tables import print_table
from voiceface.methods.base import Method
from voiceface.methods.recipes import equivalent_recipe
from voiceface.training.acceleration import check_precision, compile_encoders, keep_channels_last
from voiceface.training.arguments import RunChoice, expand
from voiceface.training.checkpointing import LastCheckpoint
from voiceface.training.embedding_plot import picture
from voiceface.training.few_people import fewer_people
from voiceface.training.launch import end_with_launcher, need_folder
from voiceface.training.loggers import run_loggers
from voiceface.training.memory import check_memory
from voiceface.training.mistakes import users_mistake
from voiceface.training.monitor import Watch
from voiceface.training.non_finite import NonFinite
from voiceface.training.preemption import Preemption
from voiceface.training.progress_bar import RunBar
from voiceface.training.resume import of_training, settings
from voiceface.training.run import CURVE, write_learning_curve
from voiceface.training.run_folder import LAUNCHED, discard_if_empty, release, resume_from, run_folder
from voiceface.training.sync_batchnorm import BatchNormSync
from voiceface.utils.errors import UserError
from voiceface.utils.own_classes import is_own

MONITOR = "val/accuracy"


class FitCLI(LightningCLI):
    """LightningCLI around `Trainer.fit`, with voiceface's run folder.

    Args:
        args: Words for LightningCLI.
        chosen: Choices made by the short options, from `voiceface.training.arguments.expand`.
    """

    def __init__(self, args: Sequence[str], chosen: RunChoice) -> None:
        self.chosen = chosen
        super().__init__(
            Method,
            VoxVGGDataModule,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            seed_everything_default=0,
            trainer_defaults={"num_sanity_val_steps": 0, "log_every_n_steps": 25, "enable_model_summary": False},
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"exit_on_error": False, "fit": {"exit_on_error": False}},
            args=list(args),
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Allow only fit: test and embed take a checkpoint and are separate commands."""
        return {"fit": LightningCLI.subcommands()["fit"]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add options that LightningCLI lacks."""
        parser.add_lightning_class_args(CrossModalMetrics, "metrics")
        parser.add_argument("--save_every", type=int, default=200, help="Steps between two writes of last.ckpt.")
        parser.add_argument(
            "--negatives",
            type=Literal["batch", "rank"],
            default="batch",
            help="On several GPUs: a loss compares the clips of the whole batch, or, cheaper, each GPU its own.",
        )
        parser.add_argument(
            "--non_finite",
            type=Literal["stop", "skip"],
            default="stop",
            help="What a step whose loss or gradient is not finite does: stop the run, or be skipped and counted.",
        )
        parser.add_argument("--compile", type=bool, default=False, help="Compile the encoders (torch.compile).")
        parser.add_argument(
            "--channels_last", type=bool, default=False, help="Keep images in the memory format that GPUs prefer."
        )
        parser.add_argument(
            "--evaluation_seconds",
            type=float | None,
            default=None,
            help="Seconds of voices in one pass of validation and test, padding included; null: by the memory at hand.",
        )
        parser.add_argument(
            "--wandb", type=str | None, default=None, help="Weights & Biases project to log to as well."
        )

    def _parse_ckpt_path(self) -> None:
        """Keep the command line's settings; `Method.on_load_checkpoint` rejects a checkpoint with others."""

    def before_instantiate_classes(self) -> None:
        """Determine the run folder before anything is built."""
        config = self.config[self.subcommand]
        if config["save_every"] < 1:
            raise UserError(f"--save_every {config['save_every']}: give 1 or more steps")
        if config["evaluation_seconds"] is not None and config["evaluation_seconds"] <= 0:
            raise UserError(f"--evaluation_seconds {config['evaluation_seconds']}: give a number above 0")
        check_precision(config["trainer"])
        self.note = self._fewer_people(config)
        # The saved config.yaml is reusable: it contains neither this run's folder nor the file it resumed from.
        self.resumed = config.pop("ckpt_path")
        config["ckpt_path"] = None
        need_folder(self.chosen.out)
        self.out = run_folder(self.chosen, self.resumed)
        self.resumed = resume_from(self.resumed, self.out)
        trainer = config["trainer"]
        for name in ("val_check_interval", "log_every_n_steps"):
            if isinstance(trainer[name], int) and trainer["max_steps"] > 0:
                trainer[name] = min(trainer[name], trainer["max_steps"])
            if trainer[name] is not None and trainer[name] <= 0:
                raise UserError(f"--trainer.{name} {trainer[name]}: give 1 or more steps")
        wanted = config["trainer"]["devices"]
        if config["trainer"]["accelerator"] in ("gpu", "cuda") and torch.cuda.device_count() < (
            wanted if isinstance(wanted, int) else 1
        ):
            raise UserError(
                f"--gpus {wanted}: this machine has {torch.cuda.device_count()} GPUs; leave --gpus out to "
                "train on the CPU"
            )

    def _fewer_people(self, config: Any) -> str | None:
        """Reduce the demo preset's number of people for a smaller corpus; return a message that says so."""
        wanted = config["data"]["people"]
        if self.chosen.people != "preset" or not config["data"]["root"]:
            return None
        fewer = fewer_people(config["data"], config["trainer"])
        if fewer is None:
            return None
        config["data"]["people"], why = fewer
        return f"--data.people {config['data']['people']}, not the demo preset's {wanted}: {why}"

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Log to the run folder, in addition to the loggers that the user requests."""
        asked, project = self._get(self.config_init, "trainer")["logger"], self._get(self.config, "wandb")
        about = {**asdict(self.chosen), **self.config[self.subcommand].as_dict()}
        self.loggers = run_loggers(self.out, asked, project, about, self.resumed is not None)
        return super().instantiate_trainer(logger=self.loggers, default_root_dir=str(self.out), **kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
        """Keep the last and the best state in the run folder, and show a single progress bar."""
        (self.metrics,) = (c for c in callbacks if isinstance(c, CrossModalMetrics))
        self.metrics.out = self.metrics.out or str(self.out / "results.json")
        self.metrics.recipe = self.metrics.recipe or self.chosen.recipe
        self.watch = Watch()
        self.preemption = Preemption(self.out, LAUNCHED)
        fixed = settings(self.config[self.subcommand])
        self.last = LastCheckpoint(self.out / "last.ckpt", self._get(self.config, "save_every"), self.preemption, fixed)
        self.best = best = ModelCheckpoint(
            self.out, "best", monitor=MONITOR, mode="max", save_weights_only=True, enable_version_counter=False
        )
        if config["sync_batchnorm"]:
            plugins = config["plugins"] or []
            config["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), BatchNormSync()]
        self.non_finite = NonFinite(self._get(self.config, "non_finite"), self.out / "non_finite.jsonl")
        bar = [] if config["enable_progress_bar"] is False else [RunBar()]
        callbacks = [*callbacks, self.watch, self.non_finite, best, self.last, *bar]
        try:
            return super()._instantiate_trainer(config, callbacks)
        except (ImportError, MisconfigurationException, TypeError, ValueError) as error:
            raise UserError(f"--trainer: {' '.join(str(error).split())}") from error

    def _run_subcommand(self, subcommand: str) -> None:
        """Exit cleanly when the system asks."""
        with self.preemption.watch(self.trainer):
            super()._run_subcommand(subcommand)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Pass on the file to resume from; only tensors and plain values are read from it."""
        return {**super()._prepare_subcommand_kwargs(subcommand), "ckpt_path": self.resumed, "weights_only": True}

    def before_fit(self) -> None:
        """Check all splits before the hours of work, not after."""
        self.model.evaluation_seconds = self._get(self.config, "evaluation_seconds")
        self.model.negatives, self.model.rng_state = self._get(self.config, "negatives"), torch.get_rng_state()
        if self._get(self.config, "channels_last"):
            keep_channels_last(self.model)
        if self._get(self.config, "compile"):
            compile_encoders(self.model, self.trainer.strategy.root_device)
        memory = check_memory(self.model, self.trainer.strategy.root_device)
        if isinstance(self.datamodule, VoxVGGDataModule):
            self.datamodule.prepare_data()
            for split in ("train", "val", "test"):
                self.datamodule.bundles(split)
        if self.trainer.is_global_zero:
            size = self.model.count_parameters()
            where = self.datamodule.root or f"{self.datamodule.corpus.root} (built-in, synthetic)"
            print(
                f"{self.chosen.recipe or type(self.model).__name__}, preset {self.chosen.preset}: "
                f"{size:,} parameters; data {where}; run folder {self.out}",
                file=sys.stderr,
            )
            for note in (self.note, memory):
                if note:
                    print(note, file=sys.stderr)
            same = equivalent_recipe(self.chosen.recipe, self.chosen.preset, self.chosen.encoders)
            if same is not None:
                print(f"with these networks the settings of {self.chosen.recipe} are those of {same}", file=sys.stderr)

    def after_fit(self) -> None:
        """Save the last state, test the best one, write the checkpoint folder."""
        self.last.save(self.trainer)
        best, score = self.out / "best.ckpt", self.best.best_model_score
        chosen: dict[str, Any] = {"step": self.trainer.global_step, "by": None, "value": None}
        if best.exists():
            saved = torch.load(best, map_location="cpu", weights_only=True)
            self.model.load_state_dict(saved["state_dict"])
            value = None if score is None else float(score)
            chosen = {"step": saved["global_step"], "by": MONITOR, "value": value}
        done_with = of_training(self.config[self.subcommand])
        self.metrics.training = {**self.watch.summary(self.trainer, chosen), "settings": done_with}
        if self.note:
            self.metrics.training["note"] = self.note
        corpus = self.datamodule.corpus
        self.model.training_data = {"corpus": corpus.name, "version": corpus.version, "split": "train"}
        self.model.training_identities = frozenset(identities_of(corpus, "train"))
        self.model.calibration = self._calibration()
        if self.trainer.is_global_zero:
            self.model.checkpoint_hash = save_checkpoint(
                self.model,
                self.out / "checkpoint",
                self.chosen.recipe,
                self.model.training_data,
                self.model.training_identities,
                self.metrics.training,
                self.model.calibration,
            )
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        shown = (self.metrics.table, self.loggers, self.out, self.chosen.recipe, chosen["step"])
        picture(self.trainer, self.model, *shown)
        if self.trainer.is_global_zero:
            title = f"{self.chosen.recipe or type(self.model).__name__} on {corpus.name}"
            write_learning_curve(self.out, title, chosen["step"])
            if self.metrics.results is not None:
                add_results(self.out / "checkpoint", self.metrics.results)
                print_table(self.metrics.results)
            print(_what_next(self.out, chosen, type(self.model)))

    def _calibration(self) -> dict[str, dict[str, Any]] | None:
        """Embed the validation people once more, with the selected weights, and fit the calibration on them."""
        self.datamodule.predict_split = "val"
        self.trainer.predict(self.model, datamodule=self.datamodule, return_predictions=False)
        return fit_calibration(self.model, self.metrics.table.gather())


def _what_next(out: Path, chosen: dict[str, Any], owner: type) -> str:
    """Which weights were kept and why, where everything is, and what to do with it."""
    kept = f"kept: the weights after step {chosen['step']}"
    if chosen["value"] is not None:
        kept += f", the best on the validation people (1:2 {100 * chosen['value']:.1f} %)"
    checkpoint = shlex.quote(str(out / "checkpoint"))
    own = f" --model {owner.__module__}.{owner.__qualname__}" if is_own(owner) else ""
    return "\n".join(
        (
            kept,
            f"scores: {out / 'results.json'}   checkpoint: {out / 'checkpoint'}",
            f"learning curve: {out / CURVE}",
            f"next: voiceface match {checkpoint} VOICE FACE FACE{own}   # which face fits a voice",
            f"      voiceface compare {shlex.quote(str(out.parent))}/*   # this run beside others",
        )
    )


def quiet() -> None:
    """Hide Lightning's advice from the user's terminal; warnings about the run stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    for message in (
        ".*LightningCLI's args parameter.*",
        ".*worker processes in total.*",
        ".*sync_dist=True.*",
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists.*",
        ".*number of training batches.*",
        ".*in eval mode at the start of training.*",  # frozen networks
        ".*isinstance\\(treespec.*",
    ):
        warnings.filterwarnings("ignore", message)


def keep_memory() -> None:
    """Make the C library keep large blocks between steps instead of returning them to the kernel each time.

    On a CPU the page faults of reallocating them took a sixth of a training step. Does nothing without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)


def fit(args: Sequence[str]) -> Path:
    """Train, validate, test, write the run folder, print the table.

    Args:
        args: Words after `voiceface fit`.

    Returns:
        The run folder.

    Raises:
        UserError: Anything that the user can fix.
    """
    words, chosen = expand(args)
    quiet()
    end_with_launcher()
    keep_memory()
    if "OMP_NUM_THREADS" not in os.environ:
        # Half of the cores compute, the others read data. Fixed, because results must not depend on --data.workers.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    try:
        return FitCLI(words, chosen).out
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt("resume with the same command, --out of this run, and --ckpt_path last") from None
        raise
    except Exception as error:
        mistake = users_mistake(error)
        if mistake is None:
            raise
        discard_if_empty()
        raise UserError(mistake) from None
    finally:
        release()
