"""Settings: which source wins, what is refused and how it is said."""

from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    CONFIG_BYTES_MAX,
    CONFIG_ITEMS_MAX,
    HELD_BLOCKS_BYTES_MIN,
    HELD_QUOTA_BYTES_MAX,
    UPLOAD_BYTES_MAX,
)
from dms3.node.config import (
    check_offered,
    load_config,
    parse_host_port,
    parse_settings,
    parse_size,
)
from dms3.sdk.where import api_url, find_node


def load(home: Path, toml: str = "", flags=None, **environment: str):
    if toml:
        (home / "config.toml").write_text(toml)
    return load_config(home, flags or {}, environment)


def refusal(*arguments: object, **named: str) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        load(*arguments, **named)
    assert caught.value.code == "config_invalid"
    return caught.value


def test_defaults_without_any_source(tmp_path):
    config = load(tmp_path)
    assert config.api_listen == "127.0.0.1:7700"
    assert set(config.origin.values()) == {"default"}


def test_flag_beats_environment_beats_file(tmp_path):
    toml = 'name = "file"\napi_listen = "127.0.0.1:1"\nlisten = "/ip4/127.0.0.1/tcp/1"\n'
    config = load(
        tmp_path,
        toml,
        {"name": "flag", "join": (), "public": None},
        DMS3_NAME="environment",
        DMS3_API_LISTEN="127.0.0.1:2",
    )
    assert (config.name, config.api_listen, config.listen) == (
        "flag",
        "127.0.0.1:2",
        "/ip4/127.0.0.1/tcp/1",
    )
    assert [config.origin[key] for key in ("name", "api_listen", "listen", "join")] == [
        "flag",
        "environment",
        "config.toml",
        "default",
    ]


def test_lists_come_from_commas_or_lists(tmp_path):
    config = load(tmp_path, 'role = ["relay", "relay", "cloud"]', DMS3_JOIN="/ip4/1.2.3.4/tcp/1")
    assert config.role == ("relay", "cloud")
    assert config.join == ("/ip4/1.2.3.4/tcp/1",)


def test_other_variables_of_ours_are_left_alone(tmp_path):
    assert load(tmp_path, DMS3_HOME="/x", DMS3_JSON="1", DMS3_SEED="7").name == ""


@pytest.mark.parametrize(
    ("toml", "words", "hint"),
    [
        ('lisen = "x"', "'lisen'", "Did you mean listen?"),
        ("zzzzzz = 1", "'zzzzzz'", "Settings: name"),
        ('listen = "127.0.0.1:1"', "listen from config.toml is '127.0.0.1:1'", ""),
        ('api_listen = "localhost"', "HOST:PORT", ""),
        ('api_listen = "127.0.0.1:65536"', "port from 0 to 65535", ""),
        ('role = ["relai"]', "relay (probably)", ""),
        ("join = 7", "a list of at most", ""),
        ('upload_max = "2 PB"', "a size such as", ""),
        ("upload_max = 0", "from 1 byte", ""),
        ('upload_max = "65 GiB"', "from 1 byte", ""),
        (f"overlay_blocks = {HELD_BLOCKS_BYTES_MIN - 1}", "from 64MiB to 1TiB", ""),
        (f"overlay_blocks = {HELD_QUOTA_BYTES_MAX + 1}", "to 1TiB", ""),
        ('open = "maybe"', "true or false", ""),
        ('log_level = "loud"', "debug, info", ""),
        ('public_url = "ftp://x"', "a URL", ""),
        ('name = "a\\nb"', "text of one line", ""),
        ("name = 7", "text of one line", ""),
        ("name =", "not TOML", ""),
        ("x = " + "[" * 5000, "not TOML", ""),
        ("#" * (CONFIG_BYTES_MAX + 1), "larger than", ""),
    ],
)
def test_wrong_settings_are_named(tmp_path, toml, words, hint):
    error = refusal(tmp_path, toml)
    assert words in error.message
    assert hint in error.hint


def test_of_a_wrong_list_the_wrong_item_is_shown(tmp_path):
    error = refusal(tmp_path, "", {"role": ("relay", "nope")})
    assert error.message.startswith("--role is 'nope'; it must be one of delivery, relay,")
    near = refusal(tmp_path, "", {}, DMS3_ROLE="storag")
    assert near.message.startswith(
        "role from environment is 'storag'; it must be storage (probably) or another of delivery,"
    )
    assert "--join is 'nowhere'; it must be a multiaddr" in (
        refusal(tmp_path, "", {"join": ("/ip4/127.0.0.1/tcp/1", "nowhere")}).message
    )


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("role", "relay", "is not part of this version"),
        ("public", "0.0.0.0:80", "serves nothing"),
        ("public_url", "https://node.example.org", "serves nothing"),
    ],
)
def test_what_this_version_cannot_do_is_refused_by_name(tmp_path, key, value, words):
    check_offered(load(tmp_path))
    for given, source in (
        (load(tmp_path, "", {key: (value,) if key == "role" else value}), "flag"),
        (load(tmp_path, "", {}, **{f"DMS3_{key.upper()}": value}), "environment"),
        (load(tmp_path, f'{key} = "{value}"'), "config.toml"),
    ):
        with pytest.raises(Dms3Error) as refused:
            check_offered(given)
        assert refused.value.code == "config_invalid"
        assert f"{key} '{value}' (from {source}) {words}" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_the_role_of_a_delivery_service_needs_a_public_listener(tmp_path):
    with pytest.raises(Dms3Error, match="needs a public listener") as refused:
        check_offered(load(tmp_path, 'role = "delivery"'))
    assert "--public HOST:PORT" in refused.value.hint
    check_offered(load(tmp_path, 'role = "delivery"\npublic = "0.0.0.0:80"'))


@pytest.mark.parametrize(("toml", "days"), [("0", 0), ('"0"', 0), ("30", 30), ('"3650"', 3_650)])
def test_days_that_a_service_keeps_messages(tmp_path, toml, days):
    assert load(tmp_path, f"delivery_days = {toml}").delivery_days == days


@pytest.mark.parametrize("toml", ["29", "1", "-1", "100000", '"soon"'])
def test_fewer_days_than_the_specification_asks_for_are_refused(tmp_path, toml):
    assert "at least 30 days" in refusal(tmp_path, f"delivery_days = {toml}").message


def test_a_wrong_flag_names_the_flag(tmp_path):
    assert "--listen is" in refusal(tmp_path, "", {"listen": "nowhere"}).message


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "config.toml").mkdir()
    assert "cannot be read" in refusal(tmp_path).message


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(Dms3Error, match="not readable text"):
        parse_settings(b'name = "\xff"')


def test_both_sides_of_the_limits():
    assert parse_settings(b"#" * CONFIG_BYTES_MAX) == {}
    assert len(parse_settings(_joins(CONFIG_ITEMS_MAX))["join"]) == CONFIG_ITEMS_MAX
    with pytest.raises(Dms3Error, match="at most"):
        parse_settings(_joins(CONFIG_ITEMS_MAX + 1))
    assert parse_settings(b"upload_max = %d" % UPLOAD_BYTES_MAX)["upload_max"] == UPLOAD_BYTES_MAX
    for quota in (HELD_BLOCKS_BYTES_MIN, HELD_QUOTA_BYTES_MAX):
        assert parse_settings(b"overlay_blocks = %d" % quota)["overlay_blocks"] == quota


def _joins(count: int) -> bytes:
    addresses = ", ".join(f'"/ip4/127.0.0.1/tcp/{port}"' for port in range(1, count + 1))
    return f"join = [{addresses}]".encode()


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("2 KB", 2000), ("2kib", 2048), (" 3 GiB ", 3 << 30), ("1tb", 10**12), ("7B", 7)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1.5GB", "1 XB", "9" * 16, "\u0661"])
def test_wrong_sizes(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


def test_hosts_and_ports():
    assert parse_host_port("[::1]:0") == ("::1", 0)
    assert parse_host_port("node.example:80") == ("node.example", 80)
    for wrong in ("::1:80", "a", ":80", "a:", "a:b", "a b:1", "a:99999", "[x]y:1"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            parse_host_port(wrong)


def test_where_the_node_is(tmp_path, monkeypatch):
    monkeypatch.delenv("DMS3_API", raising=False)
    monkeypatch.delenv("DMS3_TOKEN", raising=False)
    nothing = find_node(tmp_path)
    assert (nothing.url, nothing.token, nothing.local) == ("http://127.0.0.1:7700", "", False)
    (tmp_path / "api.token").write_text("secret\n")
    (tmp_path / "node.json").write_text('{"api": "127.0.0.1:9"}')
    running = find_node(tmp_path)
    assert (running.url, running.token, running.local) == ("http://127.0.0.1:9", "secret", True)
    assert "secret" not in repr(running)
    assert not find_node(tmp_path, "https://node.example:1").local
    (tmp_path / "node.json").write_text("[" * 3)
    assert find_node(tmp_path).url == "http://127.0.0.1:7700"
    monkeypatch.setenv("DMS3_TOKEN", "other")
    assert not find_node(tmp_path).local, "a token from elsewhere says nothing about the machine"


@pytest.mark.parametrize("given", ["ftp://x", "", "http://", "http://a:b@c", "x:99999999", "a:b"])
def test_wrong_api_addresses(given):
    with pytest.raises(Dms3Error, match="not the address of an API"):
        api_url(given)


def test_api_addresses():
    assert api_url("127.0.0.1:1") == "http://127.0.0.1:1"
    assert api_url("https://[::1]:2/path?x") == "https://[::1]:2"


@pytest.mark.parametrize(
    "host", ["node.example", "192.0.2.1:7700", "[2001:db8::1]", "localhost.example"]
)
def test_the_token_of_a_home_stays_on_this_machine(tmp_path, monkeypatch, host):
    (tmp_path / "api.token").write_text("secret\n")
    for near in ("127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "LOCALHOST:1"):
        assert find_node(tmp_path, near).token == "secret"
    assert find_node(tmp_path, f"https://{host}").token == ""
    for given in (host, f"http://{host}"):
        with pytest.raises(Dms3Error, match="in the open") as refused:
            find_node(tmp_path, given)
        assert refused.value.code == "argument_invalid"
        assert "secret" not in str(refused.value)
    monkeypatch.setenv("DMS3_API", f"https://{host}")
    assert find_node(tmp_path).token == ""
    monkeypatch.setenv("DMS3_TOKEN", "of that node")
    assert find_node(tmp_path).token == "of that node"
    assert not find_node(tmp_path).local
    with pytest.raises(Dms3Error, match="in the open"):
        find_node(tmp_path, f"http://{host}")


@pytest.mark.parametrize("value", ["0.0.0.0:0", "192.0.2.1:7700", "[::]:0", "node.example:1"])
def test_the_private_listener_takes_loopback_addresses_only(tmp_path, value):
    error = refusal(tmp_path, "", {"api_listen": value})
    assert "--api-listen is" in error.message
    assert "--public" in error.message
    assert "HOST:PORT" in refusal(tmp_path, "", {"api_listen": ""}).message
    for near in ("127.0.0.1:0", "[::1]:7700", "localhost:1"):
        assert (
            load_config(tmp_path, {"api_listen": near, "public": "0.0.0.0:0"}, {}).api_listen
            == near
        )
