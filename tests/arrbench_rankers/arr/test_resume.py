"""A training that was killed goes on from its last checkpoint and ends at the weights it would have had."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers.arr import checkpoints
from arrbench_rankers.arr.checkpoints import last_complete, training_folder, training_key
from arrbench_rankers.arr.examples import Example
from arrbench_rankers.arr.options import ArrOptions
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.trie import PrefixTree

# Forks a process a training, so that libraries are imported once: each argument is "out die_at rank".
SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from arrbench.ranker import Context
from arrbench_rankers.arr import lora, training
from arrbench_rankers.arr.checkpoints import Checkpoints
from arrbench_rankers.arr.objective import Objective
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.stoical import edge_targets, item_weights
from arrbench_rankers.arr.trie import PrefixTree

def fit(out, die_at, rank):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64))
    model = lora.adapt(model, rank) if rank else model
    made = []
    for i in range(10):
        tree = PrefixTree.build([(10 + i, 2), (10 + i, 20 + i, 2)])
        targets = edge_targets(tree, item_weights(2, "fractional", 1), None)
        made.append(training.Example(Row([1, 4 + i, 3], tree), targets[1:], tree.paths))

    def die(phase, done, total, /, **figures):
        if done == die_at:
            half = Path(out + "-trainings") / "key" / f"checkpoint-{total - 1}"  # killed while it was written
            half.mkdir()
            (half / "trainer_state.json").write_text("{")
            os.kill(os.getpid(), signal.SIGKILL)

    training.REPORT_STEPS = 1
    schedule = training.Schedule(
        epochs=4, batch=2, accumulation=2, learning_rate=1e-2, warmup=2, weight_decay=0.01)
    every_step = Checkpoints(Path(out + "-trainings"), "key", 1e-9)
    events = training.train(
        model, made, 0, schedule, Objective(), Context(report=die), None, every_step)
    save_file({name: p.detach().clone() for name, p in model.named_parameters()}, out)
    print("resumed at", events.resumed_at_step, flush=True)

for words in sys.argv[1:]:
    out, die_at, rank = words.split()
    child = os.fork()
    if not child:
        fit(out, int(die_at), int(rank))
        os._exit(0)
    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
NEVER = -1


@pytest.mark.slow
def test_killed_and_resumed_is_bit_identical_to_uninterrupted(tmp_path):
    full, killed, lora, lora_killed = outs = [str(tmp_path / name) for name in "abcd"]
    runs = [  # 10 examples in batches of 2, accumulated by 2: 3 steps an epoch, so 9 ends one
        (full, NEVER, 0, ["resumed at 0", "status 0"]),
        (killed, 5, 0, [f"status {-signal.SIGKILL}"]),
        (killed, 10, 0, [f"status {-signal.SIGKILL}"]),
        (killed, NEVER, 0, ["resumed at 9", "status 0"]),
        (lora, NEVER, 2, ["resumed at 0", "status 0"]),
        (lora_killed, 8, 2, [f"status {-signal.SIGKILL}"]),
        (lora_killed, NEVER, 2, ["resumed at 7", "status 0"]),
    ]
    words = [f"{out} {die_at} {rank}" for out, die_at, rank, _ in runs]
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *words]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    assert said == [line for *_, lines in runs for line in lines]
    for one, other in (outs[:2], outs[2:]):
        expected, weights = load_file(one), load_file(other)
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        assert not Path(f"{other}-trainings", "key").exists()


def test_the_last_complete_checkpoint_is_kept_alone(tmp_path):
    for step, complete in ((5, True), (20, True), (100, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{step}" / checkpoints.COMPLETE).touch()
    assert last_complete(tmp_path) == tmp_path / "checkpoint-20"
    assert [f.name for f in tmp_path.iterdir()] == ["checkpoint-20"]
    assert last_complete(tmp_path / "checkpoint-20") is None


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (KeyboardInterrupt, True),
        (BrokenPipeError, True),
        (torch.OutOfMemoryError, True),
        (UsageError, False),
        (RuntimeError, False),
    ],
)
def test_checkpoints_outlive_what_may_pass_and_nothing_else(tmp_path, error, kept):
    def fail():
        with training_folder(tmp_path, "key") as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "checkpoint-1").mkdir()
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "key" / "checkpoint-1").exists() == kept


def test_one_process_at_a_time_has_the_folder(tmp_path):
    with training_folder(tmp_path, "key") as first:
        (first / "checkpoint-1").mkdir()
        with training_folder(tmp_path, "key") as second, training_folder(tmp_path, "other") as other:
            assert second is None
            assert other == tmp_path / "other"
        assert (first / "checkpoint-1").exists()
    assert list(tmp_path.iterdir()) == []
    with training_folder(tmp_path, "key") as again:
        assert list(again.iterdir()) == []


def test_a_cache_that_cannot_be_written_means_no_checkpoints(tmp_path, caplog):
    (tmp_path / "file").touch()
    with training_folder(tmp_path / "file" / "trainings", "key") as folder:
        assert folder is None
    assert "keeps no checkpoints" in caplog.text


def test_folders_of_trainings_killed_long_ago_are_removed(tmp_path):
    ages = {"old": 15, "held": 15, "young": 13}
    for name in ages:
        (tmp_path / name).mkdir()
    with training_folder(tmp_path, "held"):
        for name, days in ages.items():
            then = time.time() - 86_400 * days
            os.utime(tmp_path / name, (then, then))
        with training_folder(tmp_path, "new"):
            assert {f.name for f in tmp_path.iterdir() if f.is_dir()} == {"held", "young", "new"}


def an_example(token=5, target=1.0):
    tree = PrefixTree.build([(token, 2)])
    return Example(Row([1, 3], tree), np.array([target, 1.0]), tree.paths)


def test_the_key_tells_trainings_apart():
    alike = {training_key([an_example()], {"seed": 0}) for _ in range(2)}
    others = {
        training_key([an_example(token=6)], {"seed": 0}),
        training_key([an_example(target=0.5)], {"seed": 0}),
        training_key([an_example()], {"seed": 1}),
        training_key([an_example()] * 2, {"seed": 0}),
    }
    assert len(alike) == 1
    assert len(alike | others) == 5


def test_what_a_ranker_s_training_is_told_apart_by(tmp_path):
    def key(options=None, weights=None, **context):
        made = checkpoints.checkpoints(
            [an_example()], options or ArrOptions(), weights or {}, Context(cache=tmp_path, **context)
        )
        assert made.root == tmp_path / "trainings"
        return made.key

    keys = [
        key(),
        key(ArrOptions(learning_rate=1e-3)),
        key(weights={"m": "1"}),
        key(seed=1),
        key(device="cuda:0"),
        key(dtype="bfloat16"),
        key(threads=2),
    ]
    assert len(set(keys)) == len(keys)
    assert key(device="cuda:1") == key(device="cuda:0")
    assert not Path(tmp_path / "trainings").exists()
