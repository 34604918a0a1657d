"""What must not be installed: python-jose works with cryptography alone."""

from importlib.util import find_spec

import pytest
from jose import jwk
from jose.backends.cryptography_backend import CryptographyRSAKey


@pytest.mark.parametrize("module", ["ecdsa", "rsa", "pyasn1"])
def test_what_python_jose_only_names_is_not_installed(module):
    assert find_spec(module) is None
    with pytest.raises(ModuleNotFoundError):
        __import__(module)


def test_python_jose_uses_cryptography():
    assert jwk.get_key("RS256") is CryptographyRSAKey
