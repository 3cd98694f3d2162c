from tests.hardware.recorded import FIXTURES, text


def test_every_recording_names_its_public_source():
    sources = text("SOURCES.md")
    recordings = [file.name for file in FIXTURES.iterdir() if file.name != "SOURCES.md"]
    assert recordings
    assert [name for name in recordings if f"`{name}`" not in sources] == []


def test_no_recording_carries_an_identifier():
    for file in FIXTURES.iterdir():
        content = file.read_text()
        assert "GPU-" not in content
        assert "serial_number" not in content
        assert "platform_UUID" not in content
