import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.settings import TABLE, Settings, load

KEYS = [row.key for row in TABLE]


def refused(*, file: str | None = None, flags: dict[str, object] | None = None, **environ: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        load(file, environ, flags)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_table_and_the_struct_have_the_same_keys() -> None:
    assert list(Settings.__struct_fields__) == KEYS
    assert all(row.help for row in TABLE)


def test_without_any_source_everything_is_a_default() -> None:
    loaded = load(None, {})
    assert loaded.settings == Settings()
    assert loaded.origins == dict.fromkeys(KEYS, "default")


def test_the_defaults_pass_their_own_parsers() -> None:
    defaults = {key: getattr(Settings(), key) for key in KEYS}
    assert load(None, {}, defaults).settings == Settings()


def test_flags_go_before_environment_before_file_before_default() -> None:
    file = 'port = 1\npeer_port = 1\nname = "from the file"'
    environ = {"MYCOSWARM_PORT": "2", "MYCOSWARM_PEER_PORT": "2"}
    loaded = load(file, environ, {"port": 3})
    assert (loaded.settings.port, loaded.settings.peer_port, loaded.settings.name) == (3, 2, "from the file")
    assert loaded.settings.slots == Settings().slots
    origins = {key: loaded.origins[key] for key in ("port", "peer_port", "name", "slots")}
    assert origins == {"port": "flag", "peer_port": "environment", "name": "file", "slots": "default"}


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    loaded = load("port = 1", {}, {"port": None})
    assert loaded.settings.port == 1
    assert loaded.origins["port"] == "file"


def test_a_source_that_says_the_default_is_still_its_origin() -> None:
    assert load("port = 6926", {}).origins["port"] == "file"


def test_the_home_directory_and_the_variables_of_others_are_no_settings() -> None:
    environ = {"MYCOSWARM_HOME": "/x", "HOME": "/y", "PORT": "9", "mycoswarm_port": "9"}
    assert load(None, environ).settings == Settings()


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("name", "miu", "miu"),
        ("port", "0", 0),
        ("peer_port", " 65535 ", 65535),
        ("listen", "lan", "lan"),
        ("announce", "no", "no"),
        ("peers", "miu, 10.0.0.2:7000,,", ("miu", "10.0.0.2:7000")),
        ("peers", "", ()),
        ("context", "8192", 8192),
        ("keep_loaded", "-1", -1.0),
        ("patience", "0.5", 0.5),
        ("internet", "yes", "yes"),
    ],
)
def test_values_of_the_environment_are_text(key: str, raw: str, value: object) -> None:
    loaded = load(None, {f"MYCOSWARM_{key.upper()}": raw})
    assert getattr(loaded.settings, key) == value
    assert loaded.origins[key] == "environment"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('peers = ["miu", "naru:1"]', ("miu", "naru:1")),
        ("peers = []", ()),
        ('prefer = "a,b"', ("a", "b")),
        ("keep_loaded = 60", 60.0),
        ("patience = 2.5", 2.5),
        ("announce = true", "yes"),
        ("internet = false", "no"),
        ("threads = 0", 0),
    ],
)
def test_values_of_the_file_have_their_own_types(line: str, value: object) -> None:
    key = line.partition(" ")[0]
    assert getattr(load(line, {}).settings, key) == value


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("name = 5", "must be text"),
        ('port = "http"', "must be a whole number"),
        ("port = true", "must be a whole number"),
        ("port = 1.5", "must be a whole number"),
        ("port = 65536", "must be a port, 0 to 65535"),
        ("port = -1", "must be a port, 0 to 65535"),
        ("context = 0", "must be at least 1"),
        ("slots = 0", "must be at least 1"),
        ("threads = -1", "must be at least 0"),
        ('keep_loaded = "long"', "must be a number of seconds"),
        ("keep_loaded = true", "must be a number of seconds"),
        ("keep_loaded = nan", "must be a number of seconds"),
        ("patience = inf", "must be a number of seconds"),
        ("patience = []", "must be a number of seconds"),
        ("peers = 5", "must be a list of texts"),
        ("peers = [5]", "must be a list of texts"),
        ('listen = "everywhere"', "must be one of loopback, lan"),
        ("listen = []", "must be one of loopback, lan"),
        ("embedded = true", "must be one of auto, no"),
        ("log_level = 3", "must be one of debug, info, warning, error"),
        ("[port]\nnumber = 1", "must be a whole number"),
    ],
)
def test_an_impossible_value_is_told_with_its_key_and_source(line: str, says: str) -> None:
    key = line.partition(" ")[0].partition("]")[0].strip("[")
    problem = refused(file=line)
    assert problem.message == f"setting `{key}` in config.toml {says}"
    assert problem.hint == next(row.help for row in TABLE if row.key == key)


def test_each_source_is_named_as_the_user_wrote_it() -> None:
    assert "in MYCOSWARM_PEER_PORT must" in refused(MYCOSWARM_PEER_PORT="x").message
    assert "in --peer-port must" in refused(flags={"peer_port": "x"}).message
    with pytest.raises(InvalidRequest, match=r"in here\.toml"):
        load("port = 'x'", {}, file_name="here.toml")


@pytest.mark.parametrize(
    ("key", "near"),
    [("prot", "port"), ("peer-port", "peer_port"), ("model_dir", "models_dir"), ("keeploaded", "keep_loaded")],
)
def test_an_unknown_key_names_the_nearest(key: str, near: str) -> None:
    problem = refused(file=f"{key} = 1")
    assert problem.message == f"unknown setting `{key}` in config.toml"
    assert problem.hint == f"did you mean `{near}`?"


def test_an_unknown_key_that_resembles_nothing_says_where_the_known_ones_are() -> None:
    problem = refused(MYCOSWARM_XYZZY="1")
    assert problem.message == "unknown setting `xyzzy` in MYCOSWARM_XYZZY"
    assert "config show" in problem.hint


def test_a_file_that_is_no_toml_names_the_line() -> None:
    problem = refused(file="port = 1\nname = miu\n")
    assert "config.toml is not valid TOML" in problem.message
    assert "line 2" in problem.message


@given(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=8)))
def test_any_text_in_the_environment_is_a_value_or_a_clear_refusal(values: dict[str, str]) -> None:
    environ = {f"MYCOSWARM_{key.upper()}": value for key, value in values.items()}
    refusal = ""
    origins = {}
    try:
        origins = load(None, environ).origins
    except InvalidRequest as problem:
        refusal = problem.message
    if refusal:
        assert any(f"`{key}`" in refusal for key in values)
    else:
        assert {key for key, origin in origins.items() if origin == "environment"} == set(values)
