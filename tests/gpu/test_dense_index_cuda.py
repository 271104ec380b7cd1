"""FAISS on GPUs finds what it finds on the CPU, and what is saved there is searched anywhere."""

import faiss
import numpy as np
import pytest
import torch

from arrbench.ranker import Context
from arrbench_rankers.dense_index import DenseIndex
from arrbench_rankers.dual_encoder import DualEncoder

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or not faiss.get_num_gpus(), reason="needs CUDA and a FAISS built for it"
)

DIM, DOCUMENTS = 32, 20_000


@pytest.mark.parametrize(("kind", "shared"), [("flat", 0.999), ("hnsw", 1.0), ("ivf", 0.99), ("ivfpq", 0.95)])
def test_gpus_find_what_the_cpu_finds(kind, shared, tmp_path):
    rng = np.random.default_rng(0)
    embedded = rng.standard_normal((DOCUMENTS, DIM), dtype=np.float32)
    queries = rng.standard_normal((50, DIM), dtype=np.float32)
    options = DualEncoder.Options(index=kind, dim=DIM, **({"code_bytes": 16} if kind == "ivfpq" else {}))
    on_gpus = DenseIndex.build(options, DIM, DOCUMENTS, [embedded], Context(device="cuda:0"))
    assert on_gpus.gpus == (0 if kind == "hnsw" else faiss.get_num_gpus())
    on_gpus.save(tmp_path / "index")
    on_cpu = DenseIndex.load(options, DIM, DOCUMENTS, tmp_path / "index", Context())
    found, wanted = (index.search(queries, 20)[1].tolist() for index in (on_gpus, on_cpu))
    same = [len({*f} & {*w}) / len(w) for f, w in zip(found, wanted, strict=True)]
    assert np.mean(same) >= shared
    assert on_gpus.search(queries, 3000)[1].shape == (50, 3000)
