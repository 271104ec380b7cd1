"""Fits a causal LM to ranked docIDs with transformers' Trainer and the SToICaL loss."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from arrbench.ranker import Context
from arrbench_rankers.arr.examples import Example
from arrbench_rankers.arr.packing import Tensors
from arrbench_rankers.arr.reading import PACKED, Reading
from arrbench_rankers.arr.stoical import stoical_loss

MAX_GRAD_NORM = 1.0
REPORT_STEPS = 10
DEV_MEASURES = 2  # how often dev is measured in a training, its end included


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: passes over the examples, examples a step, the peak of the rate."""

    epochs: float
    batch: int
    accumulation: int
    learning_rate: float
    warmup: int
    weight_decay: float


@dataclass(frozen=True)
class Collator:
    """Batches examples; the loss's weights travel as `targets`.

    Were they called `labels`, Trainer would count their items and, with a compute_loss of our own,
    leave out the division by the accumulation steps.
    """

    pad: int
    reading: Reading = PACKED

    def __call__(self, examples: Sequence[Example]) -> Tensors:
        batch = self.reading.collate([example.row for example in examples], self.pad)
        targets = np.zeros(batch["tokens"].shape, np.float32)
        for i, example in enumerate(examples):
            targets[i, : len(example.targets) - 1] = example.targets[1:]
        return {**batch, "targets": torch.from_numpy(targets)}


class StoicalTrainer(Trainer):
    """Trainer with the SToICaL loss; the mean over a step's queries is its loss."""

    reading: Reading = PACKED

    def compute_loss(
        self, model: Any, inputs: Tensors, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        return stoical_loss(self.reading.edge_log_probs(model, inputs), inputs["targets"])


class Progress(TrainerCallback):
    """Reports the loss at every log, and dev's nDCG@10 a few times."""

    def __init__(self, context: Context, dev_ndcg: Callable[[], float] | None) -> None:
        self.context = context
        self.dev_ndcg = dev_ndcg

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" in logs:
            self.context.report("fit", state.global_step, state.max_steps, loss=float(logs["loss"]))

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        every = -(-state.max_steps // DEV_MEASURES)
        if self.dev_ndcg and (state.global_step % every == 0 or state.global_step == state.max_steps):
            model.eval()
            dev_ndcg = self.dev_ndcg()
            model.train()
            self.context.report("fit", state.global_step, state.max_steps, dev_ndcg=dev_ndcg)


def train(
    model: Any,
    examples: Sequence[Example],
    pad: int,
    schedule: Schedule,
    context: Context,
    dev_ndcg: Callable[[], float] | None,
    reading: Reading = PACKED,
) -> None:
    """Train in place, in float32 or with the context's half precision in the forward pass.

    AdamW, linear warm-up and decay, gradients clipped to norm 1; the order of the examples is drawn
    from the context's seed. `dev_ndcg`, where given, measures the model as it is.
    """
    with tempfile.TemporaryDirectory(prefix="arr-training-") as folder:
        trainer = StoicalTrainer(
            model=model,
            args=_arguments(folder, schedule, context),
            train_dataset=list(examples),
            data_collator=Collator(pad, reading),
            callbacks=[Progress(context, dev_ndcg)],
        )
        trainer.reading = reading
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        # mixed precision wraps forward for good; what ranks must be what a saved copy will be
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    model.eval()


def _arguments(folder: str, schedule: Schedule, context: Context) -> TrainingArguments:
    device = torch.device(context.device)
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=schedule.epochs,
        per_device_train_batch_size=schedule.batch,
        gradient_accumulation_steps=schedule.accumulation,
        learning_rate=schedule.learning_rate,
        warmup_steps=schedule.warmup,
        weight_decay=schedule.weight_decay,
        lr_scheduler_type="linear",
        max_grad_norm=MAX_GRAD_NORM,
        seed=context.seed,
        use_cpu=device.type == "cpu",
        bf16=context.dtype == "bfloat16",
        fp16=context.dtype == "float16" and device.type == "cuda",
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        logging_steps=REPORT_STEPS,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    if device.type == "cuda":
        arguments.device  # noqa: B018 - resolves the devices, which counts every visible one
        arguments._n_gpu = 1  # a trial has one device; Trainer would spread over all it sees
    return arguments
