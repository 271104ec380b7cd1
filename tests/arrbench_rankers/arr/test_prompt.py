"""Prompts: what stands in them, in which order, and what is cut."""

import pytest

from arrbench.errors import UsageError
from arrbench.ranker import Context, Query
from arrbench_rankers.arr.prompt import Prompter
from arrbench_rankers.backbones import load_tokenizer

WORDS = "the dog barks cat fish house"
NAMES = {"d1": "dog", "d2": "cat fish", "d3": "house"}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny", [], [WORDS], Context())


def prompts(tokenizer, queries, style="query", query_tokens=64, max_tokens=100, seed=0):
    def docid(document_id):
        return tokenizer(NAMES[document_id], add_special_tokens=False)["input_ids"]

    prompter = Prompter(tokenizer, style, query_tokens, max_tokens, seed)
    written = prompter.write(queries, docid)
    return [" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in written], prompter


def test_the_query_alone(tokenizer):
    written, _ = prompts(tokenizer, [Query("q", "The dog barks"), Query("e", "")])
    assert written == ["<s> the dog barks <sep>", "<s> <sep>"]


def test_a_line_break_stands_in_for_a_separator_that_the_tokenizer_lacks():
    tokenizer = load_tokenizer("tiny", [], [WORDS], Context())
    tokenizer.sep_token = None
    with pytest.raises(UsageError, match="line break"):  # a word vocabulary has none
        Prompter(tokenizer, "query", 64, 100, 0)


def test_candidates_follow_in_an_order_that_only_seed_and_query_decide(tokenizer):
    def written(query_id, candidates, seed):
        (text,), _ = prompts(tokenizer, [Query(query_id, "dog", candidates)], "candidates", seed=seed)
        opening, *names, closing = text.split(" <sep>")
        assert (opening, closing) == ("<s> dog", "")
        assert sorted(names) == [" cat fish", " dog", " house"]
        return tuple(names)

    assert written("q", ("d1", "d2", "d3"), 0) == written("q", ("d3", "d1", "d2"), 0)
    assert len({written(f"q{i}", ("d1", "d2", "d3"), 0) for i in range(30)}) == 6
    assert len({written("q", ("d1", "d2", "d3"), seed) for seed in range(30)}) == 6


def test_candidates_are_asked_for_where_the_prompt_shows_them(tokenizer):
    with pytest.raises(UsageError, match="query 'q' has none"):
        prompts(tokenizer, [Query("q", "dog")], "candidates")


def test_long_texts_and_long_candidate_lists_are_cut_at_their_end_and_noted(tokenizer):
    long = Query("long", "the dog barks the cat", ("d1", "d2", "d3"))
    written, prompter = prompts(tokenizer, [long, Query("short", "the cat")], query_tokens=2)
    assert written == ["<s> the dog <sep>", "<s> the cat <sep>"]
    assert (prompter.cut_texts, prompter.cut_candidates) == ({"long"}, {})
    full, _ = prompts(tokenizer, [long], "candidates")
    (shorter,), prompter = prompts(tokenizer, [long], "candidates", max_tokens=11)
    assert full[0].startswith(shorter)
    assert shorter.split().count("<sep>") in (2, 3)
    assert prompter.cut_texts == set()
    assert prompter.cut_candidates == {"long": 3 - (shorter.split().count("<sep>") - 1)}


def test_the_text_keeps_its_budget_and_candidates_go_last_from_what_the_model_can_read(tokenizer):
    query = Query("q", "the dog barks the cat", ("d1", "d3"))
    (in_full,), prompter = prompts(tokenizer, [query], "candidates", query_tokens=2, max_tokens=8)
    assert len(in_full.split()) == 8  # <s> the dog <sep>, two names and their separators
    assert (prompter.cut_texts, prompter.cut_candidates) == ({"q"}, {})
    (cut,), prompter = prompts(tokenizer, [query], "candidates", query_tokens=2, max_tokens=5)
    assert cut == "<s> the dog <sep>"
    assert prompter.cut_candidates == {"q": 2}


def test_the_first_prompt_beyond_what_the_model_reads_is_warned_of_once(tokenizer, caplog):
    texts = [Query(f"q{i}", "the dog barks the cat") for i in range(3)]
    prompts(tokenizer, texts, query_tokens=2)
    assert not caplog.messages  # the option's own cut is no surprise
    written, prompter = prompts(tokenizer, texts, max_tokens=4)
    assert written == ["<s> the dog <sep>"] * 3
    assert prompter.cut_texts == {"q0", "q1", "q2"}
    (message,) = caplog.messages
    assert "'q0'" in message
    assert "4 tokens" in message
