from tests.cli.reference import FILE, reference


def test_the_reference_is_what_the_help_says() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), "run: python -m tests.cli.reference"
