"""The client against a loopback Kaggle, through the real SDK: whole, cut, failing, and never a secret in a message."""

import json
import re

import pytest
import requests
from kaggle_server import hidden, html, send_bundle, silence, status

from kit.data.archives import verify_archive
from kit.errors import KitError
from kit.kaggle.calls import UnsureError
from kit.kaggle.credentials import find_credentials
from kit.kaggle.transfer import connection_trouble

SLUG = "dogs-vs-cats"
CHUNK = 16384  # what a cut may lose


def _download(connect, tmp_path, slug=SLUG):
    path = tmp_path / "archives" / "bundle.zip"
    connect().download_bundle(slug, path, verify_archive)
    return path


def _fails(connect, tmp_path, message, slug=SLUG):
    """The download ends in one line, with nothing under the final name and no secret said."""
    with pytest.raises(KitError, match=message) as caught:
        _download(connect, tmp_path, slug)
    assert not (tmp_path / "archives" / "bundle.zip").exists()
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_download_whole(kaggle, connect, tmp_path, capsys):
    path = _download(connect, tmp_path)
    assert path.read_bytes() == kaggle.bundle
    assert [p.name for p in path.parent.iterdir()] == ["bundle.zip"]
    assert kaggle.authorization[0] == "Bearer kgat_SECRETTOKEN"
    assert "SECRET" not in "".join(capsys.readouterr())


def test_the_token_does_not_go_to_the_storage_by_our_own_requests(kaggle, connect, tmp_path):
    _download(connect, tmp_path)
    assert kaggle.authorization[-1] is None


def test_a_cut_line_goes_on_where_it_stopped(kaggle, connect, tmp_path):
    kaggle.storage = [send_bundle(cut=6 * CHUNK), send_bundle(cut=3 * CHUNK + 100)]
    assert _download(connect, tmp_path).read_bytes() == kaggle.bundle
    ours = [asked for asked in kaggle.ranges if asked]
    assert ours == [f"bytes={6 * CHUNK}-", f"bytes={9 * CHUNK}-"]


def test_a_later_command_goes_on_too(kaggle, connect, tmp_path):
    kaggle.storage = [send_bundle(cut=6 * CHUNK), *[send_bundle(cut=0)] * 3]
    error = _fails(connect, tmp_path, r"connection was cut, 3 times in a row; 98,304 bytes are kept")
    assert error.exit_code == 1
    assert _download(connect, tmp_path).read_bytes() == kaggle.bundle
    assert kaggle.ranges[-1] == f"bytes={6 * CHUNK}-"


def test_progress_resets_the_count_of_failures(kaggle, connect, tmp_path):
    kaggle.storage = [send_bundle(cut=20_000)] * 8
    assert _download(connect, tmp_path).read_bytes() == kaggle.bundle


def test_a_storage_that_ignores_the_range_starts_over(kaggle, connect, tmp_path):
    kaggle.storage = [send_bundle(cut=100_000), send_bundle(ignore_range=True)]
    assert _download(connect, tmp_path).read_bytes() == kaggle.bundle


def test_a_file_that_changed_meanwhile_starts_over(kaggle, connect, tmp_path):
    kaggle.storage = [send_bundle(cut=100_000), *[send_bundle(cut=0)] * 3]
    _fails(connect, tmp_path, "cut")
    kaggle.bundle += b"more, behind the archive"
    assert _download(connect, tmp_path).read_bytes() == kaggle.bundle


def test_a_silent_storage_is_given_up(kaggle, connect, tmp_path):
    kaggle.storage = [silence(1)] * 3
    _fails(connect, tmp_path, r"no byte for 0\.4 s, 3 times in a row")


def test_a_storage_that_falls_silent_half_way_is_gone_on_with(kaggle, connect, tmp_path):
    kaggle.storage = [send_bundle(silent=1)]
    assert _download(connect, tmp_path).read_bytes() == kaggle.bundle
    assert kaggle.ranges[-1].startswith("bytes=1")


def test_an_expired_address_is_asked_for_again(kaggle, connect, tmp_path):
    kaggle.storage = [send_bundle(cut=100_000), status(403), status(400)]
    assert _download(connect, tmp_path).read_bytes() == kaggle.bundle


def test_a_web_page_is_not_saved_as_data(kaggle, connect, tmp_path):
    kaggle.storage = [html] * 3
    _fails(connect, tmp_path, "a web page came in place of the data, 3 times in a row")


def test_wrong_bytes_are_thrown_away(kaggle, connect, tmp_path):
    kaggle.storage = [send_bundle(flip=True)]
    _fails(connect, tmp_path, "wrong bytes came")
    assert list((tmp_path / "archives").iterdir()) == []
    assert _download(connect, tmp_path).read_bytes() == kaggle.bundle


def test_what_is_no_zip_is_not_kept(kaggle, connect, tmp_path):
    kaggle.bundle = b"not a zip at all" * 1000
    _fails(connect, tmp_path, "a broken zip")
    assert list((tmp_path / "archives").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(401), r"refused the credentials from the environment variable KAGGLE_API_TOKEN \(401\).*unset it"),
        (hidden(401), r"refused the credentials"),
        (status(403), r"https://www\.kaggle\.com/c/dogs-vs-cats/rules.*phone is verified"),
        (status(404), r"knows no competition 'dogs-vs-cats' \(404\)"),
        (status(429), r"asks to slow down \(429\).*wait a few minutes"),
        (status(503), r"answers with an error \(503\)"),
        (silence(1), r"does not answer; check the network"),
    ],
)
def test_each_failure_says_what_to_do(kaggle, connect, tmp_path, answer, message):
    kaggle.failures["DownloadDataFiles"] = [answer] * 10
    _fails(connect, tmp_path, message)


def test_only_what_may_pass_is_tried_again(kaggle, connect, tmp_path):
    kaggle.failures["DownloadDataFiles"] = [status(429, Retry_After="0"), status(500), silence(1)]
    assert _download(connect, tmp_path).exists()
    assert kaggle.calls.count("DownloadDataFiles") == 4


def test_a_wrong_slug(kaggle, connect, tmp_path):
    _fails(connect, tmp_path, r"knows no competition 'cats'", slug="cats")


def test_no_credentials(kaggle, connect, tmp_path, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    _fails(connect, tmp_path, r"no Kaggle credentials; create a token at https://www\.kaggle\.com/settings")


def test_submit_and_wait_for_the_score(kaggle, connect, tmp_path):
    file = tmp_path / "s.csv"
    file.write_text("id,label\n1,0\n")
    client = connect()
    ref = client.hand_in(SLUG, client.upload(SLUG, file), "hello")
    scored = client.wait_for_score(SLUG, ref, 5)
    assert (ref, scored.status, scored.public_score, scored.private_score) == (4711, "COMPLETE", "0.91234", "")
    assert kaggle.uploaded == file.read_bytes()
    assert kaggle.description == "hello"


def test_handing_in_is_never_tried_twice(kaggle, connect, tmp_path):
    file = tmp_path / "s.csv"
    file.write_text("id,label\n1,0\n")
    kaggle.failures["CreateSubmission"] = [status(500)]
    with pytest.raises(UnsureError, match=r"\(500\).*It may have been taken: look at .*/submissions"):
        connect().hand_in(SLUG, connect().upload(SLUG, file), "")
    assert kaggle.calls.count("CreateSubmission") == 1


def test_no_reference_is_no_success(kaggle, connect, tmp_path):
    file = tmp_path / "s.csv"
    file.write_text("id,label\n1,0\n")
    kaggle.failures["CreateSubmission"] = [lambda handler: handler.json({"message": "Could not submit"})]
    with pytest.raises(KitError, match="no reference in its answer: Could not submit"):
        connect().hand_in(SLUG, connect().upload(SLUG, file), "")


def test_waiting_ends(kaggle, connect):
    kaggle.pending_polls = 10**6
    assert connect().wait_for_score(SLUG, 1, 0.2).status == "PENDING"


def test_credentials_in_kaggles_order(kaggle, monkeypatch, tmp_path):
    home = tmp_path / "home" / ".kaggle"
    home.mkdir(parents=True)
    (home / "kaggle.json").write_text(json.dumps({"username": "me", "key": "SECRETKEY"}))
    assert find_credentials().source == "the environment variable KAGGLE_API_TOKEN"
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    assert find_credentials().source == str(home / "kaggle.json")
    assert "SECRET" not in repr(find_credentials())
    monkeypatch.setenv("KAGGLE_USERNAME", "you")
    monkeypatch.setenv("KAGGLE_KEY", "SECRETKEY")
    assert find_credentials().username == "you"
    (home / "access_token").write_text("SECRETTOKEN")
    assert find_credentials().source == "~/.kaggle/access_token"


def test_a_broken_kaggle_json_is_said(kaggle, monkeypatch, tmp_path):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    home = tmp_path / "home" / ".kaggle"
    home.mkdir(parents=True)
    (home / "kaggle.json").write_text('{"username": "me", "key": SECRETKEY')
    with pytest.raises(KitError, match=r"kaggle\.json: not a kaggle\.json with username and key") as caught:
        find_credentials()
    assert "SECRET" not in str(caught.value)


def test_username_and_key_are_basic_auth(kaggle, connect, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", "you")
    monkeypatch.setenv("KAGGLE_KEY", "key")
    assert connect().competition(SLUG).entered
    assert kaggle.authorization[-1].startswith("Basic ")


@pytest.mark.parametrize("token", ["kgat_SECRET\r", " kgat_SECRETTOKEN\n"])
def test_a_sloppily_copied_token_works(kaggle, connect, monkeypatch, token):
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    assert connect().competition(SLUG).entered
    assert kaggle.authorization[-1] == f"Bearer {token.strip()}"


@pytest.mark.parametrize("token", ["SECRET\nTOKEN", "SECRET TOKEN", "SECRET\u2026"])
def test_a_broken_token_is_refused_unseen(kaggle, connect, monkeypatch, token):
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    with pytest.raises(KitError, match="copy them again") as caught:
        connect()
    assert "SECRET" not in str(caught.value)


def test_a_very_long_token_is_no_path(kaggle, connect, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "SECRET" * 100)
    assert connect().competition(SLUG).entered


def test_kaggles_own_words_are_passed_on_without_the_token(kaggle, connect):
    kaggle.failures["GetCompetition"] = [status(400, "no luck with kgat_SECRETTOKEN today")]
    with pytest.raises(KitError, match=r"refuses the request \(400\) \(Kaggle says: no luck with \*\*\* today\)"):
        connect().competition(SLUG)


def test_a_web_page_in_place_of_an_answer(kaggle, connect):
    kaggle.failures["GetCompetition"] = [html] * 10
    with pytest.raises(KitError, match="answers with an error"):
        connect().competition(SLUG)


@pytest.mark.parametrize("proxy", ["http://me:secret@proxy:1", "me:secret@proxy:1", "http://me:sec//@ret@proxy:1"])
def test_a_proxys_password_is_never_shown(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    shown = connection_trouble(requests.exceptions.ProxyError("refused"))
    assert re.search(r"\(HTTPS_PROXY=(http://)?proxy:1\)", shown)


def test_a_signed_address_is_never_shown():
    """requests' own message has the address in it, and the address is the key to the data."""
    why = "'[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)'"
    error = f"Max retries exceeded with url: /x.zip?X-Goog-Signature=5ec3e7 (Caused by SSLError({why}))"
    shown = connection_trouble(requests.exceptions.SSLError(error))
    assert "(certificate verify failed: self-signed certificate)" in shown
    assert "X-Goog" not in shown
    assert "5ec3e7" not in shown


@pytest.mark.parametrize("where", ["call", "storage"])
@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"), r"certificate .*not trusted.*REQUESTS_CA_BUNDLE"),
        (requests.exceptions.ProxyError("refused"), r"the proxy does not answer \(HTTPS_PROXY=http://proxy:1\)"),
    ],
)
def test_a_network_that_stands_between_is_named_at_once(
    kaggle, connect, tmp_path, monkeypatch, where, trouble, message
):
    """Tried once: a certificate does not become trusted by waiting."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:1")
    calls = []

    def refuse(*_, **__):
        calls.append(1)
        raise trouble

    client = connect()
    if where == "call":
        monkeypatch.setattr(type(client), "_api", property(refuse))
    else:
        monkeypatch.setattr("kit.kaggle.transfer.requests.get", refuse)
    with pytest.raises(KitError, match=message):
        client.download_bundle(SLUG, tmp_path / "x.zip", verify_archive)
    assert len(calls) == 1
