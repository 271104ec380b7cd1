"""Training at its limits: activations recomputed, memory that runs out, losses that stop being finite."""

import pytest
import torch

from arrbench.errors import UsageError
from arrbench.ranker import Context
from arrbench_rankers.arr.checkpoints import Checkpoints
from arrbench_rankers.arr.objective import Objective
from arrbench_rankers.arr.packing import Row, edge_log_probs
from arrbench_rankers.arr.stoical import edge_targets, item_weights, stoical_loss
from arrbench_rankers.arr.training import Collator, Events, Example, Schedule, train
from arrbench_rankers.arr.trie import PrefixTree

END = 2


@pytest.fixture(scope="module")
def examples():
    made = []
    for i in range(8):
        tree = PrefixTree.build([(10 + i, END), (10 + i, 20 + i, END), (30, END)][: 1 + i % 3])
        targets = edge_targets(tree, item_weights(len(tree.paths), "fractional", 1), None)
        made.append(Example(Row([1, *range(4, 5 + i), 3], tree), targets[1:], tree.paths))
    return made


def schedule(batch=8, accumulation=1, epochs=2.0, learning_rate=1e-3, **more):
    return Schedule(epochs, batch, accumulation, learning_rate, 0, 0.0, **more)


def fitted(model, examples, plan, dtype="float32", checkpoints=None):
    events = train(model, examples, 0, plan, Objective(), Context(dtype=dtype), None, checkpoints)
    return events, torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_recomputed_activations_give_the_same_loss_and_gradients(small_lm, examples, family):
    batch = Collator(0)(examples)

    def passed(recompute):
        model = small_lm(family).train()
        model.config.use_cache = False
        if recompute:
            model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
            assert model.is_activation_checkpointing
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        loss = stoical_loss(edge_log_probs(model, batch), batch["targets"], len(examples))
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])

    (loss, gradient), (same, recomputed) = passed(False), passed(True)
    assert same == pytest.approx(loss, rel=1e-6)
    assert (gradient - recomputed).norm() <= 1e-5 * gradient.norm()


def test_a_training_that_recomputes_ends_at_the_same_weights_and_no_longer_recomputes(small_lm, examples):
    model = small_lm("llama")
    _, recomputed = fitted(model, examples, schedule(gradient_checkpointing=True))
    _, kept = fitted(small_lm("llama"), examples, schedule())
    torch.testing.assert_close(recomputed, kept, rtol=0, atol=1e-5)
    assert not model.is_activation_checkpointing


def queries_in(kwargs):
    """Queries in a pass, whatever lines they share: each prompt begins with token 1."""
    return int((kwargs["input_ids"] == 1).sum())


def small_memory(model, queries):
    """Lets the model run out of memory above so many queries, after a part of the backward pass was done."""
    passes = []

    def forward(module, args, kwargs, output):
        passes.append(queries_in(kwargs))
        if passes[-1] > queries:

            def fail(gradient):
                raise torch.OutOfMemoryError("CUDA out of memory.")

            module.model.embed_tokens.weight.grad = torch.ones_like(module.model.embed_tokens.weight)
            output.logits.register_hook(fail)

    model.register_forward_hook(forward, with_kwargs=True)
    return passes


@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (4, 2), (3, 2)])
def test_a_step_that_ran_out_of_memory_is_the_step_it_would_have_been(
    small_lm, examples, batch, accumulation
):
    plan = schedule(batch, accumulation)
    model = small_lm("llama")
    passes = small_memory(model, queries=2)
    events, weights = fitted(model, examples, plan)
    roomy, expected = fitted(small_lm("llama"), examples, plan)
    assert events == Events(resumed_at_step=0, batch_halved=2 if batch == 8 else 1)
    assert roomy.batch_halved == 0
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-5)
    assert max(passes[-4:]) <= 2


def test_a_micro_batch_that_fits_no_more_takes_the_whole_step_again(small_lm, examples):
    model, plan = small_lm("llama"), schedule(4, 2, epochs=1.0)
    seen = []

    def forward(module, args, kwargs, output):
        seen.append(queries_in(kwargs))
        if len(seen) == 2:  # the step's second batch
            raise torch.OutOfMemoryError("CUDA out of memory.")

    model.register_forward_hook(forward, with_kwargs=True)
    events, weights = fitted(model, examples, plan)
    _, expected = fitted(small_lm("llama"), examples, plan)
    assert seen == [4, 4, 2, 2, 2, 2]
    assert events.batch_halved == 1
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-5)


def test_one_query_that_does_not_fit_is_an_error_that_says_what_helps(small_lm, examples, tmp_path):
    model = small_lm("llama")
    passes = small_memory(model, queries=0)
    with pytest.raises(UsageError, match=r"ran out of memory.*lora_rank.*gradient_checkpointing"):
        fitted(model, examples, schedule(), checkpoints=Checkpoints(tmp_path, "key", 5))
    assert passes == [8, 4, 2, 1]
    assert (tmp_path / "key").is_dir()  # memory may be there another time


def test_a_training_that_diverges_fails_and_names_step_and_rate(small_lm, examples, tmp_path):
    with pytest.raises(UsageError, match=r"diverged.*(step [2-9]\d? of 80.*rate|last step).*1e\+30"):
        fitted(
            small_lm("llama"),
            examples,
            schedule(epochs=80.0, learning_rate=1e30),
            checkpoints=Checkpoints(tmp_path, "key", 5),
        )
    assert not (tmp_path / "key").exists()  # it would fail again


def test_weights_that_the_last_step_breaks_are_found(small_lm, examples):
    model = small_lm("llama")
    model.lm_head.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(UsageError, match=r"not finite after the last step.*learning_rate"):
        fitted(model, examples, schedule(epochs=1.0))


def test_a_backbone_with_nan_weights_is_named_as_the_cause(small_lm, examples):
    model = small_lm("llama")
    model.model.norm.weight.data[3] = torch.nan
    with pytest.raises(UsageError, match=r"not finite before any training.*'model\.norm\.weight'"):
        fitted(model, examples, schedule())
