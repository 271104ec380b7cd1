"""Training: the gradient under accumulation, reproducibility, what is left behind and reported."""

import tempfile

import pytest
import torch
from transformers import TrainerCallback, TrainingArguments

from arrbench.ranker import Context
from arrbench_rankers.arr.objective import Objective
from arrbench_rankers.arr.packing import Row, edge_log_probs
from arrbench_rankers.arr.stoical import edge_targets, item_weights
from arrbench_rankers.arr.training import Collator, Example, Schedule, StoicalTrainer, train
from arrbench_rankers.arr.trie import PrefixTree

END = 2


@pytest.fixture(scope="module")
def examples():
    made = []
    for i in range(8):
        tree = PrefixTree.build([(10 + i, END), (10 + i, 20 + i, END), (30, END)][: 1 + i % 3])
        targets = edge_targets(tree, item_weights(len(tree.paths), "fractional", 1), None)
        made.append(Example(Row([1, 4 + i, 3], tree), targets[1:], tree.paths))
    return made


def gradients(model, examples, folder, batch, accumulation):
    """The gradient of the first optimizer step, as Trainer leaves it there (clipping off)."""
    seen = []

    class Catch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            seen.append(torch.cat([p.grad.flatten().clone() for p in model.parameters()]))

    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        max_grad_norm=0.0,
        max_steps=1,
        use_cpu=True,
        remove_unused_columns=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    StoicalTrainer(
        Objective(),
        model=model,
        args=arguments,
        train_dataset=examples,
        data_collator=Collator(0),
        callbacks=[Catch()],
    ).train()
    return seen[0]


def test_accumulation_leaves_the_gradient_as_it_is(small_lm, examples, tmp_path):
    at_once = gradients(small_lm("llama"), examples, tmp_path, 8, 1)
    in_four = gradients(small_lm("llama"), examples, tmp_path, 2, 4)
    assert at_once.norm() > 0
    assert (at_once - in_four).norm() <= 1e-4 * at_once.norm()


def test_a_batch_carries_targets_and_no_labels(examples):
    batch = Collator(0)(examples)
    assert "labels" not in batch
    assert batch["targets"].shape == batch["parents"].shape
    assert batch["targets"][:2].tolist() == [1, 1]  # the first example: one docID of two tokens


def fitted(small_lm, examples, seed, reports=None, dev=None, dtype="float32"):
    model = small_lm("llama")
    schedule = Schedule(epochs=5, batch=3, accumulation=2, learning_rate=1e-3, warmup=2, weight_decay=0.0)

    def report(phase, done, total, /, **figures):
        if reports is not None:
            reports.append((phase, done, total, figures))

    context = Context(seed=seed, dtype=dtype, report=report)
    train(model, examples, 0, schedule, Objective(), context, dev)
    return model


def test_one_seed_and_one_thread_give_identical_weights(small_lm, examples):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one, same, other = (fitted(small_lm, examples, seed) for seed in (0, 0, 1))
    finally:
        torch.set_num_threads(threads)
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)
    assert not one.training


def test_mixed_precision_ends_with_the_training(small_lm, examples):
    model, copy = fitted(small_lm, examples, 0, dtype="bfloat16"), small_lm("llama")
    copy.load_state_dict(model.state_dict())
    batch = Collator(0)(examples)
    assert torch.equal(edge_log_probs(model, batch), edge_log_probs(copy, batch))


def test_it_reports_and_leaves_no_file_behind(small_lm, examples, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reports = []
    fitted(small_lm, examples, 0, reports, dev=lambda: 0.5)
    steps = 10  # 8 examples in batches of 3 are 3, accumulated by 2 are 2 steps an epoch
    assert {(phase, total) for phase, _, total, _ in reports} == {("fit", steps)}
    losses = [figures["loss"] for _, _, _, figures in reports if "loss" in figures]
    assert all(loss > 0 for loss in losses)
    assert losses
    assert reports[-1][1] == steps or reports[-2][1] == steps
    assert {figures["dev_ndcg"] for _, _, _, figures in reports if "dev_ndcg" in figures} == {0.5}
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
