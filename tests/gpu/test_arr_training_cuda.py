"""Training `arr` on CUDA at its limits: adapters, recomputed activations, memory, resuming."""

import copy
from dataclasses import replace

import pytest
import torch

from arrbench.ranker import Context, Corpus, Document, Query
from arrbench.task import Judgments, Split
from arrbench_rankers import backbones
from arrbench_rankers.arr import memory
from arrbench_rankers.arr.checkpoints import Checkpoints
from arrbench_rankers.arr.objective import Objective
from arrbench_rankers.arr.packing import Row
from arrbench_rankers.arr.ranker import ArrStoical
from arrbench_rankers.arr.stoical import edge_targets, item_weights
from arrbench_rankers.arr.training import Example, Schedule, train
from arrbench_rankers.arr.trie import PrefixTree

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

DEVICE = "cuda:0"
TITLES = ["dog", "dog house", "cat", "cat fish", "canine", "animal"]


@pytest.fixture(scope="module")
def split():
    corpus = Corpus(Document(title, title, title) for title in TITLES)
    queries = tuple(Query(f"q{i}", f"a {title}") for i, title in enumerate(TITLES))
    grades = {f"q{i}": {title: 2, "animal": 1} for i, title in enumerate(TITLES[:-1])}
    return Split(queries, Judgments(grades), corpus)


def small_config(**config):
    from transformers import AutoConfig

    return AutoConfig.for_model(
        "llama",
        **{
            "vocab_size": 40,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "eos_token_id": 2,
        }
        | config,
    )


def random_model(**config):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(small_config(**config))


@pytest.fixture(scope="module")
def backbone(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    texts = [q.text for q in split.queries]
    tokenizer = backbones.load_tokenizer("tiny", texts, TITLES, Context())
    tokenizer.save_pretrained(folder)
    random_model(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def examples():
    made = []
    for i in range(8):
        tree = PrefixTree.build([(10 + i, 2), (10 + i, 20 + i, 2)])
        targets = edge_targets(tree, item_weights(2, "fractional", 1), None)
        made.append(Example(Row([1, 4 + i, 3], tree), targets[1:], tree.paths))
    return made


def fitted(examples, device=DEVICE, kept=None, dev_ndcg=None, **options):
    model = random_model().to(device)
    schedule = Schedule(4, 4, 2, 1e-3, 0, 0.0, **options)
    events = train(model, examples, 0, schedule, Objective(), Context(device=device), dev_ndcg, kept)
    return events, torch.cat([p.detach().flatten().cpu() for p in model.parameters()])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_are_trained_saved_and_loaded(backbone, split, tmp_path, dtype):
    context = Context(device=DEVICE, dtype=dtype, cache=tmp_path)
    options = ArrStoical.Options(
        backbone=str(backbone), lora_rank=3, gradient_checkpointing=True, epochs=5, batch=2, warmup=2
    )
    ranker = ArrStoical(options, context)
    ranker.fit(split, split)
    ranker.index(split.corpus)
    ranker.save(tmp_path / "saved")
    loaded = ArrStoical.load(tmp_path / "saved", context)
    for one, other in zip(ranker.rank(split.queries, 6), loaded.rank(split.queries, 6), strict=True):
        scores = dict(zip(other.ids, other.scores, strict=True))
        assert one.scores == pytest.approx([scores[d] for d in one.ids], abs=1e-5)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_training_ends_near_the_cpu_s_weights(examples, recompute):
    _, there = fitted(examples, gradient_checkpointing=recompute)
    _, here = fitted(examples, device="cpu")
    torch.testing.assert_close(there, here, rtol=0, atol=1e-3)


def test_an_interrupted_training_goes_on_from_its_last_checkpoint(examples, tmp_path):
    kept = Checkpoints(tmp_path, "key", 1e-9)

    def interrupt():  # dev is measured after half of the steps
        raise KeyboardInterrupt

    _, expected = fitted(examples)
    with pytest.raises(KeyboardInterrupt):
        fitted(examples, kept=kept, dev_ndcg=interrupt)
    events, weights = fitted(examples, kept=kept)
    assert events.resumed_at_step > 0
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-5)


def test_a_device_that_is_full_halves_the_batch(examples):
    """A cap on the process's share of the device takes the place of a device filled by others."""
    model = random_model(hidden_size=256, intermediate_size=1024, num_hidden_layers=8).to(DEVICE)
    long = [replace(e, row=replace(e.row, prompt=[1, 4, 5, 3] * 100)) for e in examples]
    schedule = Schedule(1, 8, 1, 1e-3, 0, 0.0)
    total = torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(DEVICE)
    before = torch.cuda.memory_allocated(DEVICE)
    roomy = train(copy.deepcopy(model), long, 0, schedule, Objective(), Context(device=DEVICE), None)
    peak = torch.cuda.max_memory_allocated(DEVICE)
    assert roomy.batch_halved == 0
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((before + 0.75 * (peak - before)) / total, DEVICE)
    try:
        tight = train(model, long, 0, schedule, Objective(), Context(device=DEVICE), None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)
    assert tight.batch_halved >= 1


def test_the_memory_of_a_training_is_near_what_was_computed(examples):
    config = small_config(hidden_size=512, intermediate_size=2048, num_hidden_layers=8, vocab_size=20_000)
    model = random_model(hidden_size=512, intermediate_size=2048, num_hidden_layers=8, vocab_size=20_000)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(DEVICE)
    before = torch.cuda.memory_allocated(DEVICE)
    train(
        model.to(DEVICE),
        examples,
        0,
        Schedule(2, 8, 1, 1e-3, 0, 0.0),
        Objective(),
        Context(device=DEVICE),
        None,
    )
    used = torch.cuda.max_memory_allocated(DEVICE) - before
    width = max(example.row.width for example in examples)
    load = memory.Load(torch.float32, torch.float32, None, False, 8, width)
    assert memory.need(config, 40, load).total == pytest.approx(used, rel=0.35)
    assert memory.available(torch.device(DEVICE)) > 0
