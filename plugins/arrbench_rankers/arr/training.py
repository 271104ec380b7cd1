"""Fits a causal LM to ranked docIDs with transformers' Trainer and the SToICaL loss."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers.arr.checkpoints import (
    Checkpoints,
    KeepLast,
    last_complete,
    step_of,
    training_folder,
)
from arrbench_rankers.arr.examples import Example
from arrbench_rankers.arr.objective import Objective
from arrbench_rankers.arr.packing import Tensors
from arrbench_rankers.arr.reading import PACKED, Reading

MAX_GRAD_NORM = 1.0
REPORT_STEPS = 10
DEV_MEASURES = 2  # how often dev is measured in a training, its end included


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: passes over the examples, examples a step, the peak of the rate.

    `gradient_checkpointing` recomputes activations in the backward pass in place of keeping them.
    """

    epochs: float
    batch: int
    accumulation: int
    learning_rate: float
    warmup: int
    weight_decay: float
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class Events:
    """What happened in a training: the step it was resumed at (0: none), how often memory ran out."""

    resumed_at_step: int
    batch_halved: int


@dataclass(frozen=True)
class Collator:
    """Batches examples: rows as `collate` gives them, and what Objective.loss takes.

    Were `targets` called `labels`, Trainer would count their items and, with a compute_loss of our own,
    leave out the division by the accumulation steps.
    """

    pad: int
    reading: Reading = PACKED

    def __call__(self, examples: Sequence[Example]) -> Tensors:
        batch = self.reading.collate([example.row for example in examples], self.pad)
        targets = np.concatenate([example.targets for example in examples], dtype=np.float32)
        listed, longest = np.max([example.paths.shape for example in examples], axis=0)
        paths = np.zeros((len(examples), listed, longest), np.int64)
        edges = 0
        for padded, example in zip(paths, examples, strict=True):
            padded[tuple(map(slice, example.paths.shape))] = example.paths + edges * (example.paths > 0)
            edges += len(example.targets)
        return {**batch, "targets": torch.from_numpy(targets), "paths": torch.from_numpy(paths)}


class StoicalTrainer(Trainer):
    """Trainer with an objective of ours; the mean over a step's queries is its loss.

    Where a device runs out of memory, the step is done again with at most half as many queries in a
    forward pass, and so are all later ones: its gradient stays the mean over the same queries. (Trainer's
    auto_find_batch_size would start the whole training again, with smaller steps.)
    """

    def __init__(
        self,
        objective: Objective,
        *,
        data_collator: Collator,
        **arguments: Any,
    ) -> None:
        # examples reach training_step as they are: tensors of them could not be parted
        super().__init__(data_collator=lambda examples: examples, **arguments)  # type: ignore[arg-type,return-value]
        self._objective = objective
        self._tensors = data_collator
        self._most = self.args.per_device_train_batch_size
        self._share = 1.0
        self._step: tuple[int, list[list[Example]]] = (-1, [])  # and its batches so far
        self.batch_halved = 0

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        if self._step[0] != self.state.global_step:
            self._step = (self.state.global_step, [])
        passed = self._step[1]
        batches = [inputs]
        while True:
            try:
                losses = [self._in_parts(model, batch) for batch in batches]
                break
            except torch.OutOfMemoryError:
                if self._most == 1 or self.args.world_size > 1:  # processes must agree on their passes
                    raise
            self._most = -(-min(self._most, max(map(len, batches))) // 2)
            self.batch_halved += 1
            model.zero_grad()
            if self.args.device.type != "cpu":
                torch.accelerator.empty_cache()
            batches = [*passed, inputs]  # the gradients of the step's earlier batches are gone, too
        passed.append(inputs)
        return losses[-1]

    def _in_parts(self, model: Any, examples: Sequence[Example]) -> torch.Tensor:
        """Forward and backward, at most `_most` queries at a time; the mean loss over all of them.

        Raises UsageError where it isn't finite.
        """
        loss = torch.zeros((), device=self.args.device)
        for start in range(0, len(examples), self._most):
            part = examples[start : start + self._most]
            self._share = len(part) / len(examples)
            loss += super().training_step(model, self._tensors(part))
        if not torch.isfinite(loss):
            raise UsageError(self._diverged(model, float(loss)))
        return loss

    def _diverged(self, model: Any, loss: float) -> str:
        step = self.state.global_step
        if step == 0:
            wrong = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
            if wrong:
                return f"the backbone's weights are not finite before any training, as in {wrong[0]!r}"
        rate = self._get_learning_rate() if self.lr_scheduler else self.args.learning_rate
        return (
            f"training diverged: the loss is {loss} at step {step + 1} of {self.state.max_steps}, "
            f"learning rate {rate:.2g}; a lower learning_rate (now {self.args.learning_rate:.2g}) "
            "or a longer warmup helps"
        )

    def compute_loss(
        self, model: Any, inputs: Tensors, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        finishing = self._objective.finishing(self.state.global_step, self.state.max_steps)
        log_probs = self._tensors.reading.edge_log_probs(model, inputs)
        return self._share * self._objective.loss(log_probs, inputs, finishing)


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
    objective: Objective,
    context: Context,
    dev_ndcg: Callable[[], float] | None,
    checkpoints: Checkpoints | None = None,
    reading: Reading = PACKED,
) -> Events:
    """Train in place what isn't frozen, in float32 or with the context's half precision forward.

    AdamW, linear warm-up and decay, gradients clipped to norm 1; the order of the examples is drawn
    from the context's seed. `dev_ndcg`, where given, measures the model as it is. With `checkpoints`
    a training that was killed goes on from its last one and ends at the weights it would have had;
    one process alone keeps them, not one of several that train together.

    Raises UsageError where the loss or the weights stop being finite, or one query doesn't fit the
    device's memory.
    """
    try:
        with contextlib.ExitStack() as stack:
            kept = None
            if checkpoints and int(os.environ.get("WORLD_SIZE", "1")) == 1:
                kept = stack.enter_context(training_folder(checkpoints.root, checkpoints.key))
            folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arr-training-")))
            trainer = StoicalTrainer(
                objective,
                model=model,
                args=_arguments(str(folder), schedule, context),
                train_dataset=list(examples),
                data_collator=Collator(pad, reading),
                callbacks=[Progress(context, dev_ndcg)],
            )
            trainer.remove_callback(PrinterCallback)
            if checkpoints and kept:
                trainer.add_callback(KeepLast(kept, checkpoints.minutes))
            last = last_complete(folder)
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            _check_finite(model, schedule)
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"{context.device} ran out of memory in training, however few queries a forward pass has; "
            "what helps: lora_rank, gradient_checkpointing=true, --dtype bfloat16, fewer query_tokens or "
            "shorter docIDs, a smaller backbone; with several processes also a smaller batch"
        ) from error
    # mixed precision wraps forward for good; what ranks must be what a saved copy will be
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    if schedule.gradient_checkpointing:
        model.activation_checkpointing_disable()
    model.eval()
    return Events(step_of(last) if last else 0, trainer.batch_halved)


def _check_finite(model: Any, schedule: Schedule) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not torch.isfinite(parameter).all():
            raise UsageError(
                f"training diverged: {name!r} is not finite after the last step; a lower learning_rate "
                f"(now {schedule.learning_rate:.2g}) or a longer warmup helps"
            )


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
        activation_checkpointing=schedule.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        logging_nan_inf_filter=False,  # which would hide what StoicalTrainer raises
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    if device.type == "cuda":
        arguments.device  # noqa: B018 - resolves the devices, which counts every visible one
        arguments._n_gpu = 1  # a trial has one device; Trainer would spread over all it sees
    return arguments
