"""Each private member of Lightning that voiceface uses is there, and nothing else in the package names one."""

import ast
import re
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningCLI

import voiceface
from voiceface.training.fit import FitCLI
from voiceface.utils import lightning_private
from voiceface.utils.lightning_private import CLI_HOOKS

PACKAGE = Path(voiceface.__file__).parent


def test_each_is_there():
    trainer, module = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False), pl.LightningModule()
    assert isinstance(trainer._logger_connector.should_update_logs, bool)
    assert module._trainer is None
    assert callable(trainer.fit_loop.epoch_loop._should_accumulate)
    assert trainer._accelerator_connector.cluster_environment is not None
    assert callable(trainer._signal_connector._sigterm_notifier_fn)
    assert callable(trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor)
    assert all(callable(getattr(LightningCLI, name)) for name in CLI_HOOKS)


def test_the_command_line_overrides_and_calls_no_other_hook():
    private = {name for name in vars(LightningCLI) if name.startswith("_") and not name.startswith("__")}
    called = set(re.findall(r"(?:self|super\(\))\.(_\w+)", (PACKAGE / "training/fit.py").read_text()))
    assert (private & (called | vars(FitCLI).keys())) == set(CLI_HOOKS)


def test_private_members_of_others_are_named_in_one_file():
    ours = set(PACKAGE.rglob("*.py")) - {Path(lightning_private.__file__)}
    for path in ours:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and re.fullmatch(r"_[a-z]\w*", node.attr):
                owner = ast.unparse(node.value)
                assert not re.search(r"trainer|loop|strategy|connector", owner), f"{path.name}: {owner}.{node.attr}"
