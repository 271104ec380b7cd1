"""Malformed ESCI files are refused in one line that names the file and, where it is known, the row."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arrbench.errors import UsageError
from arrbench.task import DataSource
from arrbench.tasks.esci import ESCI, ESCIRetrieve
from arrbench.tasks.esci_fetch import EXAMPLES, PRODUCTS
from arrbench.tasks.parquet import batches


def refused(folder, cls=ESCI, **options):
    with pytest.raises(UsageError) as error:
        cls(cls.Options(**options), DataSource(folder, cache=folder))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"esci_label": "X"}, "esci_label is 'X'; it must be one of I, C, S, E"),
        ({"esci_label": None}, "esci_label is None"),
        ({"product_locale": "fr"}, "product_locale is 'fr'; it must be one of us, es, jp"),
        ({"split": "dev"}, "split is 'dev'; it must be one of train, test"),
        ({"query_id": None}, "query_id is missing"),
        ({"product_id": None}, "product_id is missing"),
        ({"small_version": None}, "small_version is missing"),
        ({"split": "train"}, "query 1 is 'find 1' (us, train) here and 'find 1' (us, test) above"),
        ({"query": "other"}, "query 1 is 'other' (us, test) here"),
    ],
)
@pytest.mark.parametrize("group_rows", [1_000, 10])
def test_a_bad_judgment_is_refused_with_its_row(made_up_esci, changed, says, group_rows):
    judgments = (*made_up_esci.judgments, {**made_up_esci.judgment(1, "B1E", "E"), **changed})
    folder = made_up_esci.write(judgments, group_rows=group_rows)
    row = len(judgments) - 1
    where = f"{EXAMPLES}: row {row} (row group {row // group_rows}): "
    assert where + says in refused(folder)


def test_one_query_in_two_locales_is_refused_where_both_are_asked_for(made_up_esci):
    judgments = (*made_up_esci.judgments, made_up_esci.judgment(1, "B1E", "E", product_locale="es"))
    folder = made_up_esci.write(judgments)
    ESCI(ESCI.Options(), DataSource(folder, cache=folder))
    assert "(es, test) here" in refused(folder, locale="all")


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"product_locale": "uk"}, "product_locale is 'uk'"), ({"product_id": None}, "product_id is missing")],
)
def test_a_bad_product_is_refused_with_its_row(made_up_esci, changed, says):
    row = len(made_up_esci.catalogue)
    bad = {**made_up_esci.product("B9"), **changed}
    folder = made_up_esci.write(catalogue=(*made_up_esci.catalogue, bad))
    assert f"{PRODUCTS}: row {row} (row group 0): {says}" in refused(folder)


@pytest.mark.parametrize("column", ["esci_label", "small_version", "product_title"])
def test_a_missing_column_is_named_with_the_file(made_up_esci, column):
    message = refused(made_up_esci.write(without=column))
    file = PRODUCTS if column == "product_title" else EXAMPLES
    assert f"{file}: no column {column}; its columns are " in message


def test_columns_that_the_options_do_not_need_may_be_missing(made_up_esci):
    folder = made_up_esci.write(without="product_description")
    ESCIRetrieve(ESCIRetrieve.Options(), DataSource(folder, cache=folder))
    text = "title+brand+color+bullets+description"
    assert "no column product_description" in refused(folder, ESCIRetrieve, text=text)


def test_a_column_of_another_type_is_refused(made_up_esci):
    folder = made_up_esci.write()
    table = pq.read_table(folder / EXAMPLES)
    yes = pa.array(["yes"] * table.num_rows)
    place = table.schema.get_field_index("small_version")
    pq.write_table(table.set_column(place, "small_version", yes), folder / EXAMPLES)
    message = refused(folder)
    assert f"{EXAMPLES}: row group 0 can't be read" in message
    assert "yes" in message


@pytest.mark.parametrize("file", [EXAMPLES, PRODUCTS])
@pytest.mark.parametrize("kept", [0, 3, 0.5, 0.99])
def test_a_truncated_file_is_named(made_up_esci, file, kept):
    path = made_up_esci.write() / file
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    assert f"{file}: no Parquet file that can be read" in refused(path.parent)


def test_a_corrupt_row_group_is_named(made_up_esci):
    path = made_up_esci.write(group_rows=50) / EXAMPLES
    column = pq.read_metadata(path).row_group(1).column(1)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    assert f"{EXAMPLES}: row group 1 can't be read" in refused(path.parent)


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    texts = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"], pa.binary()).buffers())
    pq.write_table(pa.table({"text": texts}), tmp_path / "file.parquet")
    with pytest.raises(UsageError, match="row group 0 can't be read"):
        list(batches(tmp_path / "file.parquet", {"text": "string"}))


def test_row_groups_of_other_locales_are_passed_over(made_up_esci):
    """A row group that is wholly another locale's isn't read: garbage in its label does no harm."""
    spanish = tuple(
        made_up_esci.judgment(100 + i, "B1E", "X", product_locale="es", split="train") for i in range(50)
    )
    us = tuple(row for row in made_up_esci.judgments if row["product_locale"] == "us")
    folder = made_up_esci.write((*spanish, *us), group_rows=50)
    task = ESCI(ESCI.Options(), DataSource(folder, cache=folder))
    assert task.facts["queries_test"] == 3
    assert "row 0 (row group 0): esci_label is 'X'" in refused(folder, locale="es")


def test_a_batch_knows_its_first_row_whatever_was_passed_over(tmp_path):
    numbers = list(range(100_000))
    pq.write_table(pa.table({"n": numbers}), tmp_path / "file.parquet", row_group_size=40_000)
    seen = []
    for place, batch in batches(tmp_path / "file.parquet", {"n": "int64"}, lambda r: r["n"][0] == 0):
        assert batch.column("n")[0].as_py() == place.row
        seen += batch.column("n").to_pylist()
    assert seen == numbers[40_000:]
