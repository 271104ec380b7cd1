import re
from pathlib import Path

import pytest

from arrbench.errors import UsageError
from arrbench.tasks.wordnet_dict import read_nouns

# Fixture modules are no packages, so the toys come as rewritten files rather than as imports.


def rewrite(folder: Path, old: str, new: str) -> Path:
    path = folder / "data.noun"
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} must occur once to be a worked example"
    path.write_text(text.replace(old, new))
    return folder


def test_reads_a_synset_as_one_node(write_dict):
    nouns = read_nouns(write_dict())
    tool = nouns.synsets[200]
    assert nouns.edition == "9.9"
    assert len(nouns.synsets) == 11
    assert tool.lemmas == (("tool", 0), ("Implement", 1))
    assert tool.gloss == 'helps the hand; "a tool; it helps"'
    assert tool.hypernyms == (100,)
    assert tool.keys == ("tool%1:03:00::", "implement%1:03:01::")


def test_an_instance_has_its_class_as_hypernym(write_dict):
    assert read_nouns(write_dict()).synsets[1000].hypernyms == (200,)


def test_names_and_keys(write_dict):
    centaur = read_nouns(write_dict()).synsets[900]
    assert centaur.name == "Centaur of old"
    assert centaur.key == "centaur_of_old%1:03:10::"  # lex_id is hexadecimal in the file, decimal here


def test_crlf_reads_as_lf(write_dict):
    lf, crlf = write_dict(name="lf"), write_dict(name="crlf", newline="\r\n")
    assert (crlf / "data.noun").read_bytes().count(b"\r\n") == 13
    assert read_nouns(lf).synsets == read_nouns(crlf).synsets


def test_blank_lines_at_the_end_are_no_synsets(write_dict):
    folder = write_dict(newline="\r\n")
    whole = read_nouns(folder).synsets
    with (folder / "data.noun").open("ab") as file:
        file.write(b"\r\n")
    assert read_nouns(folder).synsets == whole


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("03 n 02 tool", "03 n 03 tool", 4),  # one word too few
        ("03 n 02 tool", "03 n 00 tool", 4),
        ("03 n 01 beast", "03 v 01 beast", 5),
        ("00000400 03 n", "hammer 03 n", 6),
        ("| a mule that said", "a mule that said", 13),
        ("hinny 0 002", "hinny 0 003", 10),  # one pointer too few
        ("hinny 0 002", "hinny g 002", 10),
        ("00000800 03 n 01 hinny", "00000800", 10),
        ("00000800 03 n 01 hinny", "00000700 03 n 01 hinny", 10),  # an offset taken
        ("@ 00000700 n 0000 + 00099999 v 0101 | a mule", "@ 00000777 n 0000 + 00099999 v 0101 | a mule", 13),
        ("saw 1 002", "saw 0 002", 13),  # a sense key taken
    ],
)
def test_a_malformed_line_is_named(write_dict, old, new, line):
    folder = rewrite(write_dict(), old, new)
    with pytest.raises(UsageError, match=re.escape(f"{folder / 'data.noun'}:{line}: ")):
        read_nouns(folder)


def test_a_file_cut_inside_a_line_is_refused(write_dict):
    path = write_dict() / "data.noun"
    path.write_bytes(path.read_bytes()[:-6])  # in the last gloss, where each field is still there
    with pytest.raises(UsageError, match=r"data\.noun:13: .*breaks off"):
        read_nouns(path.parent)


@pytest.mark.parametrize("kept", range(3, 13))
def test_a_file_cut_between_two_lines_is_refused(write_dict, kept):
    path = write_dict() / "data.noun"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:kept]))
    with pytest.raises(UsageError, match=r"data\.noun:\d+: points to offset \d{8}.*cut short"):
        read_nouns(path.parent)


@pytest.mark.parametrize("content", [b"", b"  1 only a header  \n", b"\xff\xfe\n"])
def test_a_file_without_synsets_is_refused(tmp_path, content):
    (tmp_path / "data.noun").write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(str(tmp_path))):
        read_nouns(tmp_path)


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("tool.n.01", 200),
        ("implement.n.01", 200),  # any lemma, whatever its case
        ("saw.n.01", 1100),  # the order of index.noun, not of offsets
        ("saw.n.02", 500),
        ("Centaur of old.n.01", 900),
        ("saw%1:03:01::", 1100),
        ("implement%1:03:01::", 200),
    ],
)
def test_finds_a_synset_by_name_or_key(write_dict, name, offset):
    assert read_nouns(write_dict()).find(name).offset == offset


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hamer.n.01", "hammer.n.01"),
        ("hammer%1:03:07::", "hammer%1:03:00::"),
        ("saw.n.03", "saw.n.02"),
        ("saw.n.00", "saw.n.01"),
        ("hammer", "mammal.n.01"),
        ("hammer.v.01", "mammal.n.01"),
    ],
)
def test_an_unknown_name_gets_what_would_be_right(write_dict, name, hint):
    with pytest.raises(UsageError) as error:
        read_nouns(write_dict()).find(name)
    assert hint in str(error.value)
    assert "\n" not in str(error.value)


def test_without_index_noun_a_lemma_of_one_sense_will_do(write_dict):
    nouns = read_nouns(write_dict(index=False))
    assert nouns.find("implement.n.01").offset == 200
    with pytest.raises(UsageError, match=r"2 senses.*saw%1:03:00::, saw%1:03:01::"):
        nouns.find("saw.n.01")


def test_an_index_of_another_edition_is_refused(write_dict):
    folder = write_dict()
    index = folder / "index.noun"
    index.write_text(index.read_text().replace("00000400", "00000401"))
    with pytest.raises(UsageError, match=r"00000401.*two different editions"):
        read_nouns(folder).find("hammer.n.01")
