"""The operator's own credentials: what is taken, what is refused, and that nothing of them is shown."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from digdir_simulator import jws
from maskinporten_operator.adapters.digdir.credentials import (
    AdminCredentials,
    CertificateFiles,
    CredentialsError,
    JwkFile,
)
from maskinporten_operator.model.errors import TransientError
from tests.certificates import DAY, authority, common_name, ec_key, private_pem, rsa_key, subject
from tests.unit.virtual_time import run_in_virtual_time


@pytest.fixture(scope="session")
def root():
    return authority()


@pytest.fixture(scope="session")
def certified(root):
    return root.issue(common_name("Between"), rsa_key(2), ca=True).issue()


class Files:
    """The files of a certificate."""

    def __init__(self, folder):
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        self.source = CertificateFiles(self.chain, self.key)

    def write(self, certified, **changes):
        self.chain.write_text(changes.get("chain", certified.chain_pem))
        self.key.write_text(changes.get("key", certified.key_pem))


@pytest.fixture
def files(tmp_path, certified):
    files = Files(tmp_path)
    files.write(certified)
    return files


def refusal(source):
    with pytest.raises(CredentialsError) as caught:
        source.read()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


# A registered key


@pytest.mark.parametrize("missing", ["kid", "d", "n", "e"])
def test_a_key_that_lacks_a_member_cant_be_used_and_isnt_shown(tmp_path, admin_jwk, missing):
    path = tmp_path / "broken.jwk"
    path.write_text(json.dumps({name: value for name, value in admin_jwk.items() if name != missing}))

    with pytest.raises(CredentialsError) as caught:
        JwkFile(path).read()

    assert str(caught.value) == f"{path} holds no private RSA JWK with a kid"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '"kid"',
        "5",
        "null",
        "\xff\xfe",
        "-----BEGIN PRIVATE KEY-----",
        "[" * 100_000,
        '{"kid": "k"}',
        '{"kid": "k", "kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c"}',
        '{"kid": "k", "kty": "oct", "k": "c2VjcmV0"}',
        '{"kid": "k", "kty": "RSA", "n": 5, "e": [], "d": null}',
        '{"kid": "k", "kty": "RSA", "n": "AQ", "e": "AQ", "d": "AQ"}',
        '{"kid": "k", "kty": "RSA", "n": "!", "e": "AQAB", "d": "é"}',
    ],
)
def test_junk_is_no_admin_key(tmp_path, text):
    path = tmp_path / "junk.jwk"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(CredentialsError, match="holds no private RSA JWK"):
        JwkFile(path).read()


def test_a_file_that_cant_be_read_is_no_admin_key(tmp_path):
    with pytest.raises(CredentialsError):
        JwkFile(tmp_path / "absent").read()


def test_an_assertion_is_short_lived_for_one_audience_and_used_once(jwk_file):
    credentials = AdminCredentials("admin-client", JwkFile(jwk_file))

    claims = [jws.parse(credentials.build_assertion("http://aud.test/", ["a", "b"], 1000.7))[1] for _ in range(2)]

    assert {name: value for name, value in claims[0].items() if name != "jti"} == {
        "aud": "http://aud.test/",
        "iss": "admin-client",
        "scope": "a b",
        "iat": 1000,
        "exp": 1060,
    }
    assert claims[0]["jti"] != claims[1]["jti"]


# A certificate


def header(credentials):
    return jws.parse(credentials.build_assertion("http://aud.test/", ["a"], 1000))[0]


def test_with_a_registered_key_the_header_has_its_kid_and_no_certificate(jwk_file, admin_jwk):
    credentials = AdminCredentials("admin-client", JwkFile(jwk_file))

    assert header(credentials) == {"alg": "RS256", "typ": "JWT", "kid": admin_jwk["kid"]}


def test_with_a_certificate_the_header_has_the_whole_chain_and_no_kid(files, certified):
    credentials = AdminCredentials("admin-client", files.source)

    assert header(credentials) == {"alg": "RS256", "typ": "JWT", "x5c": certified.x5c}
    assert len(certified.x5c) == 3


async def test_maskinporten_gives_a_token_for_a_certificate(trusting, root, files):
    async with trusting(root, files.source) as digdir:
        await digdir.client.list_clients()

    assert digdir.simulator.ledger.summary()["operations"] == {"list-clients": {"200": 1}, "token": {"200": 1}}


@pytest.mark.parametrize("form", ["serialNumber", "organizationIdentifier"])
async def test_the_certificate_of_another_organisation_is_said_to_the_cluster_admin(trusting, root, files, form):
    files.write(root.issue(subject("974761076", form)))
    async with trusting(root, files.source) as digdir:
        with pytest.raises(TransientError, match="organization number") as caught:
            await digdir.client.list_clients()

    assert caught.value.reason == "ForbiddenByDigDir"


async def test_a_registered_key_is_of_no_use_to_a_client_with_a_certificate(trusting, root, jwk_file):
    async with trusting(root, JwkFile(jwk_file)) as digdir:
        with pytest.raises(TransientError, match="Unknown key identifier"):
            await digdir.client.list_clients()


async def test_a_certificate_is_of_no_use_to_a_client_with_a_registered_key(digdir, files):
    async with digdir.authorized(AdminCredentials("admin-client", files.source)) as http:
        with pytest.raises(TransientError, match="pre-registered JWK"):
            await digdir.client_over(http).list_clients()


def test_a_leaf_alone_is_taken(files, certified):
    files.write(certified, chain=certified.leaf.public_bytes(Encoding.PEM).decode())

    assert files.source.read().header == {"x5c": certified.x5c[:1]}


def test_chain_and_key_may_stand_in_one_file(files, certified):
    files.chain.write_text(f"Bag Attributes: <none>\n{certified.chain_pem}{certified.key_pem}")

    assert CertificateFiles(files.chain, files.chain).read().header == {"x5c": certified.x5c}


def test_a_key_may_be_written_in_the_old_form(files, certified):
    form = (Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    files.key.write_bytes(certified.key.private_bytes(*form))

    assert files.source.read().header == {"x5c": certified.x5c}


def test_a_key_that_isnt_the_leafs_is_refused(files, certified):
    files.write(certified, key=private_pem(rsa_key(3)))

    assert refusal(files.source).startswith(f"the key in {files.key} isn't that of the first certificate")


def test_a_chain_whose_leaf_comes_last_is_refused(files, certified):
    pems = [one.public_bytes(Encoding.PEM).decode() for one in certified.certificates]
    files.write(certified, chain="".join(reversed(pems)))

    assert "the certificate of that key must come first" in refusal(files.source)


def test_a_certificate_for_another_kind_of_key_is_refused(files, root):
    files.write(root.issue(key=ec_key()))
    assert refusal(files.source) == f"the key in {files.key} isn't an RSA key"

    files.key.write_text(private_pem(rsa_key(1)))
    assert "isn't that of the first certificate" in refusal(files.source)


def test_an_encrypted_key_is_refused(files, certified):
    files.write(certified, key=private_pem(certified.key, b"password"))

    assert refusal(files.source) == f"the key in {files.key} is encrypted: write it there without a password"


@pytest.mark.parametrize("text", ["", " ", "very-private", "-----BEGIN CERTIFICATE-----", "\xff"])
def test_a_file_without_certificates_is_no_chain(files, certified, text):
    for chain in (text, certified.key_pem):
        files.write(certified, chain=chain)

        assert refusal(files.source) == f"{files.chain} holds no certificates in PEM"


@pytest.mark.parametrize("text", ["", " ", "very-private", "-----BEGIN PRIVATE KEY-----", "\xff"])
def test_a_file_without_a_private_key_is_no_key(files, certified, text):
    for key in (text, certified.chain_pem):
        files.write(certified, key=key)

        assert refusal(files.source) == f"{files.key} holds no private key in PEM"


@pytest.mark.parametrize("name", ["chain", "key"])
def test_a_directory_and_a_file_that_isnt_there_cant_be_read(files, name):
    path = getattr(files, name)
    path.unlink()
    assert refusal(files.source) == f"{path} can't be read"
    path.mkdir()
    assert refusal(files.source) == f"{path} can't be read"


@pytest.mark.filterwarnings("ignore")  # the library warns of serial numbers that aren't positive, and the like
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_taken_or_refused_and_nothing_of_them_is_shown(files, certified, data):
    chain, key = bytearray(certified.chain_pem.encode()), bytearray(certified.key_pem.encode())
    damaged = data.draw(st.sampled_from([chain, key]))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged) * 2)) :]
    files.chain.write_bytes(chain)
    files.key.write_bytes(key)
    try:
        text = repr(files.source.read().key)
    except CredentialsError as error:
        text = str(error)

    lines = [line for line in certified.key_pem.splitlines() if len(line) > 40]
    assert not [line for line in lines if line[:20] in text]


def test_a_credential_doesnt_show_its_key(files):
    assert ", key=" not in repr(files.source.read())


# Files that change


class Mounted(Files):
    """The files as a Secret mounts them: links by way of one link to a folder, and that is swapped at once."""

    def __init__(self, folder):
        folder.mkdir()
        super().__init__(folder)
        self.folder, self.version = folder, 0
        for path in (self.chain, self.key):
            path.symlink_to(f"..data/{path.name}")

    def mount(self, certified, **changes):
        self.version += 1
        folder = self.folder / f"..version-{self.version}"
        folder.mkdir()
        Files(folder).write(certified, **changes)
        link = self.folder / "..data_tmp"
        link.symlink_to(folder.name)
        link.rename(self.folder / "..data")


@pytest.fixture
def mounted(tmp_path, certified):
    mounted = Mounted(tmp_path / "secret")
    mounted.mount(certified)
    return mounted


@pytest.fixture
def renewed(root):
    return root.issue(key=rsa_key(4))


def warnings(logs):
    return [one for one in logs if one["log_level"] == "warning"]


def test_a_secret_that_is_swapped_is_picked_up_by_the_next_assertion(mounted, certified, renewed):
    credentials = AdminCredentials("admin-client", mounted.source)
    assert header(credentials)["x5c"] == certified.x5c
    mounted.mount(renewed)

    with capture_logs() as logs:
        assert header(credentials)["x5c"] == renewed.x5c
        assert header(credentials)["x5c"] == renewed.x5c

    files = [str(mounted.chain), str(mounted.key)]
    assert logs == [{"event": "credentials read again", "files": files, "log_level": "info"}]


async def test_maskinporten_gives_tokens_before_and_after_a_swap(trusting, root, mounted, renewed):
    async with trusting(root, mounted.source) as digdir:
        await digdir.client.list_clients()
        mounted.mount(renewed)
        digdir.advance(3600)
        await digdir.client.list_clients()

    assert digdir.simulator.ledger.summary()["operations"]["token"] == {"200": 2}


def test_a_registered_key_that_is_replaced_is_picked_up_too(tmp_path, jwk_file, jwks):
    credentials = AdminCredentials("admin-client", JwkFile(jwk_file))
    new = tmp_path / "new.jwk"
    new.write_text(json.dumps(jwks[0]))
    new.rename(jwk_file)

    assertion = credentials.build_assertion("http://aud.test/", ["a"], 1000)

    assert jws.parse(assertion)[0]["kid"] == jwks[0]["kid"]
    assert jws.verifies(assertion, jws.public_key(jwks[0]), "RS256")


def test_files_that_stay_are_looked_at_once_each_and_not_read_again(mounted, monkeypatch):
    credentials = AdminCredentials("admin-client", mounted.source)
    looked = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **options: looked.append(path) or stat(path, **options))
    monkeypatch.setattr(CertificateFiles, "read", None)  # to call it would be a fault

    credentials.build_assertion("http://aud.test/", ["a"], 1000)

    assert looked == [mounted.chain, mounted.key]


BROKEN = {
    "empty": {"chain": "", "key": ""},
    "half a chain": {"chain": "-----BEGIN CERTIFICATE-----\nvery-private"},
    "half a key": {"key": "-----BEGIN PRIVATE KEY-----\nvery-private"},
    "another's key": {"key": private_pem(rsa_key(5))},
    "an encrypted key": {"key": private_pem(rsa_key(4), b"very-private")},
    "a key of another kind": {"key": private_pem(ec_key())},
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=list(BROKEN))
def test_what_is_broken_leaves_the_old_in_force_is_said_once_and_can_be_mended(mounted, certified, renewed, changes):
    credentials = AdminCredentials("admin-client", mounted.source)

    with capture_logs() as logs:
        mounted.mount(renewed, **changes)
        for _ in range(3):
            assert header(credentials)["x5c"] == certified.x5c
        assert len(warnings(logs)) == 1
        mounted.mount(renewed, **changes)
        assert header(credentials)["x5c"] == certified.x5c
        assert len(warnings(logs)) == 2
        mounted.mount(renewed)
        assert header(credentials)["x5c"] == renewed.x5c

    assert "the old ones stay in force" in logs[0]["event"]
    assert str(mounted.folder) in logs[0]["message"]
    assert "very-private" not in str(logs)
    assert "PRIVATE KEY" not in str(logs)


def test_files_that_vanish_leave_the_old_in_force_until_they_are_back(mounted, certified):
    credentials = AdminCredentials("admin-client", mounted.source)
    data = mounted.folder / "..data"

    with capture_logs() as logs:
        data.rename(mounted.folder / "aside")
        for _ in range(2):
            assert header(credentials)["x5c"] == certified.x5c
        (mounted.folder / "aside").rename(data)
        for _ in range(2):
            assert header(credentials)["x5c"] == certified.x5c

    assert [one["log_level"] for one in logs] == ["warning", "info"]


def test_what_couldnt_be_read_is_tried_again_though_the_files_look_the_same(mounted, certified, renewed, monkeypatch):
    credentials = AdminCredentials("admin-client", mounted.source)
    mounted.mount(renewed)

    def refuse(_):
        raise PermissionError

    with capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", refuse)
            for _ in range(2):
                assert header(credentials)["x5c"] == certified.x5c
        assert header(credentials)["x5c"] == renewed.x5c

    assert [one["log_level"] for one in logs] == ["warning", "info"]


def test_files_written_one_after_the_other_are_taken_when_they_belong_together(files, certified, renewed):
    credentials = AdminCredentials("admin-client", files.source)

    files.chain.write_text(renewed.chain_pem)
    assert header(credentials)["x5c"] == certified.x5c
    files.key.write_text(renewed.key_pem)
    assert header(credentials)["x5c"] == renewed.x5c


def test_a_swap_between_two_readings_is_found_by_the_next_look(mounted, certified, renewed, monkeypatch):
    credentials = AdminCredentials("admin-client", mounted.source)
    mounted.mount(certified)
    read = Path.read_bytes

    def swap(path):
        content = read(path)
        if path == mounted.chain and mounted.version == 2:
            mounted.mount(renewed)
        return content

    monkeypatch.setattr(Path, "read_bytes", swap)
    assert header(credentials)["x5c"] == certified.x5c
    assert header(credentials)["x5c"] == renewed.x5c


# Their end

NOW = 2_000_000_000.0
DAY_SECONDS = 86400


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def lasting(root, files):
    """Credentials whose certificate ends in so many seconds."""

    def lasting(seconds, clock=None):
        end = datetime.fromtimestamp(NOW + seconds, UTC)
        files.write(root.issue(start=end - 365 * DAY, lasts=365 * DAY))
        return AdminCredentials("admin-client", files.source, clock or Clock())

    return lasting


def report(credentials):
    with capture_logs() as logs:
        credentials.report_expiry()
    return logs


def test_a_certificate_ends_at_its_last_date_whatever_its_authority_does(files, root):
    brief = root.issue(common_name("Between"), rsa_key(2), ca=True, lasts=2 * DAY)
    certified = brief.issue()
    files.write(certified)

    assert AdminCredentials("admin-client", files.source).expires == certified.expires != brief.expires


@pytest.mark.parametrize(
    ("exp", "expires"),
    [
        (2_000_000_000, 2e9),
        (1.5, 1.5),
        (253_402_300_799, 253_402_300_799.0),
        *((exp, None) for exp in (None, "soon", "2000000000", True, 0, -5, 1e300, 2_000_000_000_000, [], {})),
    ],
)
def test_a_registered_key_ends_when_its_file_says_so(tmp_path, admin_jwk, exp, expires):
    path = tmp_path / "admin.jwk"
    path.write_text(json.dumps(admin_jwk | {"exp": exp}))

    credentials = AdminCredentials("admin-client", JwkFile(path))

    assert credentials.expires == expires
    report(credentials)  # whatever it is, it has a text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 400])
def test_a_number_that_is_no_instant_is_no_end(tmp_path, admin_jwk, number):
    path = tmp_path / "admin.jwk"
    path.write_text(json.dumps(admin_jwk)[:-1] + f', "exp": {number}}}')

    assert AdminCredentials("admin-client", JwkFile(path)).expires is None


@pytest.mark.parametrize(
    ("seconds", "level", "days"),
    [
        (30 * DAY_SECONDS, None, None),
        (30 * DAY_SECONDS - 1, "warning", 29),
        (5 * DAY_SECONDS, "warning", 5),
        (1, "warning", 0),
        (0, "error", None),
        (-5 * DAY_SECONDS, "error", None),
    ],
)
def test_an_end_within_thirty_days_is_told_and_one_that_was_is_an_error(lasting, files, seconds, level, days):
    logs = report(lasting(seconds))

    assert [(one["log_level"], one.get("days")) for one in logs] == ([(level, days)] if level else [])
    for one in logs:
        assert datetime.fromisoformat(one["expires"]).timestamp() == NOW + seconds
        assert one["files"] == [str(files.chain), str(files.key)]
        assert "a cluster admin must renew them" in one["event"]


def test_an_end_that_is_unknown_is_not_told(jwk_file):
    assert report(AdminCredentials("admin-client", JwkFile(jwk_file))) == []


async def test_expired_credentials_are_tried_and_maskinporten_decides(trusting, root, files):
    files.write(root.issue(start=datetime.now(UTC) - 20 * DAY, lasts=10 * DAY))
    async with trusting(root, files.source) as digdir:
        with pytest.raises(TransientError, match="not valid"):
            await digdir.client.list_clients()

    assert digdir.count("token") == 1


def test_new_credentials_that_end_soon_are_told_when_they_are_read(lasting, files):
    credentials = lasting(300 * DAY_SECONDS)
    with capture_logs() as logs:
        lasting(DAY_SECONDS)
        header(credentials)

    assert [one["log_level"] for one in logs] == ["info", "warning"]
    assert credentials.expires == NOW + DAY_SECONDS


def watch(credentials, main):
    """Run `main` in virtual time beside the watch of the credentials' end; give what is logged."""

    async def run(_):
        watching = asyncio.create_task(credentials.watch_expiry())
        await main()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    with capture_logs() as logs:
        run_in_virtual_time(run)
    return logs


# The sleeps are in virtual time.


def test_the_end_is_told_day_after_day(lasting):
    clock = Clock()

    async def pass_days():
        for _ in range(3):
            await asyncio.sleep(3600)
            clock.now += DAY_SECONDS
        await asyncio.sleep(3600)

    logs = watch(lasting(30 * DAY_SECONDS, clock), pass_days)

    assert [(one["log_level"], one["days"]) for one in logs] == [("warning", days) for days in (29, 28, 27)]


def test_renewed_files_are_read_within_two_minutes_even_if_nothing_is_signed(lasting):
    credentials = lasting(3 * DAY_SECONDS)

    async def renew():
        lasting(300 * DAY_SECONDS)
        await asyncio.sleep(120)

    logs = watch(credentials, renew)

    assert [one["event"] for one in logs] == ["credentials read again"]
    assert credentials.expires == NOW + 300 * DAY_SECONDS
