"""One training loop for every encoder: transformers' Trainer over rows that a module turns into a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from arrbench.errors import UsageError
from arrbench.ranker import Context

WARM_UP = 0.07  # of all steps
LOGGED = 50  # losses reported over a training
MEASURED = 2  # dev measures taken over a training


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: passes over the rows, rows a step, peak learning rate."""

    epochs: int
    batch: int
    learning_rate: float

    def steps(self, rows: int) -> int:
        return self.epochs * -(-rows // self.batch)


class Progress(TrainerCallback):
    """Hands losses and a few dev measures to `tell(step, figures)`."""

    def __init__(
        self,
        module: nn.Module,
        tell: Callable[[int, Mapping[str, float]], None],
        measure: Callable[[], float],
    ) -> None:
        self.module = module
        self.tell = tell
        self.measure = measure

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.tell(state.global_step, {"loss": float(logs["loss"])})

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step in {state.max_steps * part // MEASURED for part in range(1, MEASURED + 1)}:
            self.module.eval()
            self.tell(state.global_step, {"dev_ndcg": self.measure()})
            self.module.train()


def train(
    module: nn.Module,
    rows: int,
    schedule: Schedule,
    context: Context,
    tell: Callable[[int, Mapping[str, float]], None],
    measure: Callable[[], float],
) -> None:
    """Trains `module`, whose forward(rows: LongTensor (batch,)) gives {"loss": scalar}, in place.

    AdamW, linear warm-up and decay, gradients clipped at norm 1; weights stay float32 and a half
    precision of the context becomes mixed precision. The same seed gives the same weights.

    Raises UsageError where there is nothing to learn from: a row would show a model as trained.
    """
    if schedule.epochs and not rows:
        raise UsageError(
            "no training query has a relevant document to learn from; give the task a train split, or `de` a "
            "sentence-transformers checkpoint and epochs=0"
        )
    if not schedule.steps(rows):
        return
    on_cpu = torch.device(context.device).type == "cpu"
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=schedule.epochs,
            per_device_train_batch_size=schedule.batch,
            learning_rate=schedule.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=WARM_UP,
            max_grad_norm=1.0,
            seed=context.seed,
            bf16=context.dtype == "bfloat16",
            fp16=context.dtype == "float16" and not on_cpu,
            use_cpu=on_cpu,
            logging_steps=max(1, schedule.steps(rows) // LOGGED),
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        if not on_cpu:
            arguments.device  # noqa: B018 - resolves the devices, which counts every visible one
            arguments._n_gpu = 1  # a trial has one device; Trainer would spread over all it sees
        trainer = Trainer(
            model=module,
            args=arguments,
            train_dataset=[{"rows": row} for row in range(rows)],
            callbacks=[Progress(module, tell, measure)],
        )
        trainer.remove_callback(PrinterCallback)
        module.train()
        trainer.train()
    module.eval()
