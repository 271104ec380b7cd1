"""Training in several processes, as `accelerate launch` and torchrun start them: one a device."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

# Forks its processes, so that libraries are imported once; the environment is what launchers set.
SCRIPT = """
import os, sys
from pathlib import Path
import torch
import transformers.models.llama.modeling_llama
from safetensors.torch import save_file
from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers.arr import packing, training
from arrbench_rankers.arr.ranker import ArrStoical

titles = ["dog", "dog house", "cat", "cat fish", "canine", "animal"]
corpus = Corpus(Document(title, title, title) for title in titles)
queries = tuple(Query(f"q{i}", f"a {title}") for i, title in enumerate(titles))
grades = {f"q{i}": {title: 2, "canine": 1} for i, title in enumerate(titles)}
split = Split(queries, Judgments(grades), corpus)
out, port = Path(sys.argv[1]), sys.argv[2]

def fit(name, rank, world, batch):
    torch.set_num_threads(1)
    if world > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
                       "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    options = ArrStoical.Options(epochs=3, batch=batch, warmup=2, gradient_checkpointing=True)
    ranker = ArrStoical(options, Context(cache=out / "cache"))
    ranker.fit(split, Split((), Judgments({}), corpus))
    ranker.index(corpus)
    ranker.rank(queries, 3)
    save_file({n: p.detach().clone() for n, p in ranker._model.named_parameters()}, out / name)

children = []
for process in (("alone", 0, 1, 2), ("first", 0, 2, 1), ("second", 1, 2, 1)):
    children.append(os.fork())
    if not children[-1]:
        fit(*process)
        os._exit(0)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children))
"""


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), port]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120)
    alone, first, second = (load_file(tmp_path / name) for name in ("alone", "first", "second"))
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=0, atol=1e-5)
