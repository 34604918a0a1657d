"""Signing by Google Cloud KMS: its own library over gRPC, against a server of the published types.

No emulator of Google's exists. What Google checks beyond these types, such as rights, isn't tried.
"""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from google.cloud import kms_v1
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport

from maskinporten_operator.adapters.signers.google_signer import GoogleSigner
from maskinporten_operator.adapters.signers.signer import SigningError
from tests.signers.conftest import MESSAGE

NAME = "projects/p/locations/europe-north1/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"


@pytest.fixture
def serve(key):
    """Serve the operation with a key, and give what signs by it."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")

    def serve(answered=NAME, code=None):
        def sign(request, context):
            if code:
                context.abort(code, "words of the provider")
            digest = utils.Prehashed(hashes.SHA256())
            signature = key.sign(request.digest.sha256, padding.PKCS1v15(), digest)
            return kms_v1.AsymmetricSignResponse(name=answered, signature=signature)

        method = grpc.unary_unary_rpc_method_handler(
            sign,
            request_deserializer=kms_v1.AsymmetricSignRequest.deserialize,
            response_serializer=kms_v1.AsymmetricSignResponse.serialize,
        )
        service = "google.cloud.kms.v1.KeyManagementService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"AsymmetricSign": method}),))
        server.start()
        transport = KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(f"127.0.0.1:{port}"))
        return GoogleSigner(NAME, kms_v1.KeyManagementServiceClient(transport=transport))

    yield serve
    server.stop(None).wait()


def test_the_digest_is_signed_as_maskinporten_expects_it(serve, verify):
    verify(serve().sign(MESSAGE))


def test_a_signature_by_another_key_isnt_taken(serve):
    with pytest.raises(SigningError, match="by another key"):
        serve(answered=NAME.replace("/1", "/2")).sign(MESSAGE)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "PermissionDenied"),
        (grpc.StatusCode.NOT_FOUND, "NotFound"),
        (grpc.StatusCode.UNAVAILABLE, "ServiceUnavailable"),
    ],
)
def test_a_refusal_is_told_by_its_kind_and_not_tried_again(serve, code, said):
    with pytest.raises(SigningError) as caught:
        serve(code=code).sign(MESSAGE)

    assert str(caught.value) == f"Google Cloud KMS doesn't sign ({said})"
