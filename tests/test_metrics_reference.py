from tests.metrics_reference import FILE, reference


def test_the_page_is_what_the_tables_say() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "run: python -m tests.metrics_reference"
