"""What the signers are tried with: their providers' own libraries, which `make signers` installs apart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from digdir_simulator import jws
from tests.adapters.conftest import Digdir
from tests.certificates import private_pem, rsa_key

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = Path(sys.prefix) / "signers"
MODULES = (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib64/softhsm/libsofthsm2.so"))
PIN = "1234-secret"
KID = "the-key-of-another"
MESSAGE = b"header.claims"

if not LIBRARIES.is_dir():
    raise pytest.UsageError("run `make signers` first: the providers' libraries aren't installed")
sys.path.append(str(LIBRARIES))  # at the end: what the operator has itself comes first


@pytest.fixture(scope="session")
def key():
    """The private key that the provider holds."""
    return rsa_key(3)


@pytest.fixture
def verify(key):
    """Check a signature by that key; raises if it isn't one."""

    def verify(signature, message=MESSAGE):
        key.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())

    return verify


@pytest.fixture(scope="session")
def token(tmp_path_factory, key):
    """The path of a PKCS#11 library, with a token that has the key."""
    module = next((one for one in MODULES if one.exists()), None)
    if module is None:
        lacks = "SoftHSM isn't installed: tests/signers/debian-packages.txt names its package"
        if os.environ.get("ALL_TESTS") == "required":
            pytest.fail(lacks)
        pytest.skip(lacks)
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")  # the library reads it in this process
    (folder / "key.pem").write_text(private_pem(key))
    for arguments in (
        ["--init-token", "--free", "--label", "operator", "--pin", PIN, "--so-pin", "5678"],
        ["--import", f"{folder}/key.pem", "--token", "operator", "--label", "admin", "--id", "a1", "--pin", PIN],
    ):
        subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)
    return module


@pytest.fixture
def pin_file(tmp_path):
    path = tmp_path / "pin"
    path.write_text(f"{PIN}\n")
    return path


@pytest.fixture
def uri(token, pin_file):
    """The key's name."""
    return f"pkcs11:token=operator;object=admin?module-path={token}&pin-source=file:{pin_file}"


@pytest.fixture
def digdir_of(key):
    """DigDir, where that key is the operator's own, and the operator's way there with a source."""

    def build(source, registered=None):
        public = jws.as_public_jwk((registered or key).public_key(), KID)
        return Digdir(source, admin_jwk=public)

    return build
