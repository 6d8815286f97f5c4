from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.setting_kinds import Address, address, show_size, size
from gateway.settings import GROUPS, SETTINGS, Setting, Settings, url_path
from gateway.settings_load import SettingsError, load
from gateway.settings_page import page
from wal.settings import LogSettings

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "settings.md"
IN_MEMORY = {"store": "memory://", "meta": "memory://"}


def refusal(flags: dict[str, str] | None = None, variables: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(IN_MEMORY | (flags or {}), variables or {})
    return str(caught.value)


def in_file(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "drumlog.toml"
    path.write_text(text)
    return {"config": str(path)}


def test_the_docs_page_is_drawn_from_the_table() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_the_page_shows_every_setting_once() -> None:
    for row in SETTINGS:
        assert page().count(f"| `{row.name}` |") == 1


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_every_row_is_whole(row: Setting) -> None:
    assert row.group in GROUPS
    assert row.help.endswith(".")
    assert row.name == row.name.lower()
    assert row.default is None or row.kind.parse(row.kind.show(row.default)) == row.default


def test_what_nobody_gives_is_the_default() -> None:
    assert load(IN_MEMORY, {}) == Settings()


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(tmp_path: Path) -> None:
    config = in_file(tmp_path, "logs = 2\nnum_partitions = 2\nnode_id = 2\n")
    variables = {"DRUMLOG_LOGS": "3", "DRUMLOG_NUM_PARTITIONS": "3"}
    settings = load(IN_MEMORY | config | {"logs": "4"}, variables)
    assert (settings.logs, settings.num_partitions, settings.node_id) == (4, 3, 2)
    assert settings.lease_ttl_s == Settings().lease_ttl_s


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = in_file(tmp_path, 'rack = "a"')["config"]
    assert load(IN_MEMORY, {"DRUMLOG_CONFIG": path}).rack == "a"


def test_the_file_takes_numbers_and_truth_values_bare_and_all_else_in_quotes(tmp_path: Path) -> None:
    text = 'listen = "[::1]:7"\nauto_create_topics = false\nretention_ms = -1\nflush_bytes_max = "1MiB"\n'
    settings = load(IN_MEMORY | in_file(tmp_path, text), {})
    assert settings.listen == Address("::1", 7)
    assert settings.auto_create_topics is False
    assert settings.retention_ms == -1
    assert settings.flush_bytes_max == 1 << 20


def test_a_wrong_value_is_one_sentence_with_setting_value_and_what_is_allowed(tmp_path: Path) -> None:
    allowed = "must be a whole number from 1 to 100."
    assert refusal({"logs": "0"}) == f"logs is '0' (from --logs), but it {allowed}"
    assert refusal(variables={"DRUMLOG_LOGS": "x"}) == f"logs is 'x' (from DRUMLOG_LOGS), but it {allowed}"
    config = in_file(tmp_path, "logs = 1.5\n")
    assert refusal(config) == f"logs is 1.5 (from {config['config']}), but it {allowed}"


def test_a_wrong_value_is_refused_even_where_another_wins_over_it() -> None:
    assert "DRUMLOG_LOGS" in refusal({"logs": "1"}, {"DRUMLOG_LOGS": "many"})


def test_a_name_that_is_no_setting_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    assert (
        refusal(variables={"DRUMLOG_LISTN": "x"})
        == "DRUMLOG_LISTN is no setting, did you mean DRUMLOG_LISTEN?"
    )
    config = in_file(tmp_path, "num_partition = 3\n")
    expected = f"num_partition, found in {config['config']}, is no setting, did you mean num_partitions?"
    assert refusal(config) == expected
    assert "is no setting" in refusal(in_file(tmp_path, 'config = "x.toml"'))


def test_other_programs_variables_and_those_of_kubernetes_are_nobodys_setting() -> None:
    variables = {
        "PATH": "/bin",
        "DRUMLOG_PORT": "tcp://10.0.0.1:9092",
        "DRUMLOG_SERVICE_HOST": "10.0.0.1",
        "DRUMLOG_SERVICE_PORT_KAFKA": "9092",
        "DRUMLOG_PORT_9092_TCP_ADDR": "10.0.0.1",
        "DRUMLOG_HEADLESS_PORT": "tcp://10.0.0.1:9092",
    }
    assert load(IN_MEMORY, variables) == Settings()
    assert "DRUMLOG_PORT is no setting" in refusal(variables={"DRUMLOG_PORT": "9092"})


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    missing = str(tmp_path / "no.toml")
    assert (
        refusal({"config": missing})
        == f"config is {missing!r}, but that file cannot be read: No such file or directory."
    )
    assert "is not TOML" in refusal(in_file(tmp_path, "logs: 3"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "is not TOML" in refusal({"config": str(binary)})


@pytest.mark.parametrize("name", ["store", "meta"])
def test_stores_must_be_given(name: str) -> None:
    given = {key: value for key, value in IN_MEMORY.items() if key != name}
    with pytest.raises(SettingsError, match=f"{name} is not set: give --{name}, DRUMLOG_{name.upper()}"):
        load(given, {})


@pytest.mark.parametrize(
    "url", ["", "/data", "file://data", "file:///", "file:////", "s3://bucket", "file:///a\n"]
)
def test_a_store_is_in_memory_or_at_an_absolute_path(url: str) -> None:
    assert "it must be file:///absolute/directory or memory://" in refusal({"store": url})


def test_a_stores_path_is_taken_as_it_stands() -> None:
    settings = load({"store": "file:///srv/my data/50%?#x", "meta": "sqlite:///srv/m.db"}, {})
    assert url_path(settings.store) == Path("/srv/my data/50%?#x")
    assert url_path(settings.meta) == Path("/srv/m.db")


def test_data_and_metadata_are_both_in_memory_or_neither() -> None:
    assert "both or neither" in refusal({"store": "file:///srv/data"})
    assert "both or neither" in refusal({"meta": "sqlite:///srv/meta.db"})


@pytest.mark.parametrize("listen", ["0.0.0.0:9092", "[::]:9092"])
def test_a_node_that_listens_everywhere_must_be_told_what_to_advertise(listen: str) -> None:
    assert refusal({"listen": listen}).startswith(f"listen is '{listen}', to which no client can connect")
    assert f"advertise is '{listen}'" in refusal({"advertise": listen})
    settings = load(IN_MEMORY | {"listen": listen, "advertise": "kafka.example:9093"}, {})
    assert settings.advertised(9092) == Address("kafka.example", 9093)


def test_without_advertise_clients_are_told_the_port_that_was_bound() -> None:
    settings = load(IN_MEMORY | {"listen": "127.0.0.1:0"}, {})
    assert settings.advertised(34567) == Address("127.0.0.1", 34567)


def test_bounds_that_contradict_each_other_are_refused() -> None:
    assert "group_session_timeout_ms_max is less: 10" in refusal({"group_session_timeout_ms_max": "10"})
    assert "must be less than request_bytes_max (1048576)" in refusal({"request_bytes_max": "1MiB"})


def test_the_logs_settings_are_those_of_the_same_name() -> None:
    settings = load(IN_MEMORY | {"segment_blocks": "7", "cache_bytes_max": "2MiB"}, {})
    log_settings = settings.log_settings()
    assert log_settings.segment_blocks == 7
    assert log_settings.cache_bytes_max == 2 << 20
    for field in fields(LogSettings):
        if hasattr(settings, field.name):
            assert getattr(log_settings, field.name) == getattr(settings, field.name)


@given(st.integers(0, 2**50))
def test_a_size_that_is_shown_is_read_back(count: int) -> None:
    assert size(0, 2**50).parse(show_size(count)) == count


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    kind = address(port_min=0)
    try:
        parsed = kind.parse(text)
    except ValueError:
        return
    assert kind.parse(str(parsed)) == parsed


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
@given(text=st.text(max_size=12))
def test_any_text_is_a_value_or_refused(row: Setting, text: str) -> None:
    try:
        value = row.kind.parse(text)
    except ValueError:
        return
    assert row.kind.parse(row.kind.show(value)) == value
