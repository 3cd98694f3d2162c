from mycoswarm.core.settings import TABLE, Settings
from tests.settings_reference import FILE, reference


def test_the_page_is_what_the_table_says() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "run: python -m tests.settings_reference"


def test_the_table_and_the_struct_have_the_same_keys() -> None:
    assert [row.key for row in TABLE] == list(Settings.__struct_fields__)
