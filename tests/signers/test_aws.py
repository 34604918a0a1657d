"""Signing by AWS KMS: by boto3, against moto, which answers in this process as AWS does."""

from hashlib import sha256

import boto3
import pytest
from botocore.stub import Stubber
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_public_key
from moto import mock_aws

from maskinporten_operator.adapters.signers.aws_signer import ALGORITHM, MAX_RAW, AwsSigner
from maskinporten_operator.adapters.signers.signer import SigningError, open_signer
from tests.signers.conftest import MESSAGE

REGION = "eu-north-1"
ARN = f"arn:aws:kms:{REGION}:123456789012:key/absent"


@pytest.fixture
def kms(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "not-a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    with mock_aws():
        yield boto3.client("kms", region_name=REGION)


def test_kms_signs_as_maskinporten_expects_it(kms):
    made = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    public = load_der_public_key(kms.get_public_key(KeyId=made["Arn"])["PublicKey"])

    signature = open_signer(made["Arn"]).sign(MESSAGE)

    public.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())


def test_a_key_that_isnt_there_is_told_by_its_code_alone(kms):
    with pytest.raises(SigningError) as caught:
        open_signer(ARN).sign(MESSAGE)

    assert str(caught.value) == "AWS KMS doesn't sign (NotFoundException)"


def test_what_is_too_long_for_kms_is_sent_as_its_digest():
    client = boto3.client("kms", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")
    message = b"x" * (MAX_RAW + 1)
    asked = {
        "KeyId": ARN,
        "Message": sha256(message).digest(),
        "MessageType": "DIGEST",
        "SigningAlgorithm": ALGORITHM,
    }
    with Stubber(client) as stubber:
        stubber.add_response("sign", {"Signature": b"signed"}, asked)

        assert AwsSigner(ARN, client).sign(message) == b"signed"


def test_missing_credentials_are_told(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))

    with pytest.raises(SigningError, match="NoCredentialsError"):
        open_signer(ARN).sign(MESSAGE)
