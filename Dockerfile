# Built by `make image`. Same sources and same base give the same layers: docs/decisions/0018-one-reproducible-image.md
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# A package mirror, in pip's own variable, reaches this stage only.
ARG PIP_INDEX_URL
# The instant of all files; 1980, where zip begins, unless it is given.
ARG SOURCE_DATE_EPOCH=315532800
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
# pip and the build backend stay in an environment of their own, which isn't part of the image.
RUN python3 -m venv /build \
 && python3 -m venv --without-pip /opt/maskinporten-operator
COPY requirements/ requirements/
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements/dev.txt > /tmp/build.txt \
 && /build/bin/pip install --require-hashes --no-deps --requirement /tmp/build.txt
# --no-deps: the lock file is complete, and leaves out what python-jose only names (docs/decisions/0002).
# Wheels only: what is built from a source package here might come out differently there. --no-compile: see below.
RUN /build/bin/pip --python /opt/maskinporten-operator/bin/python3 install \
      --require-hashes --no-deps --no-compile --only-binary :all: --requirement requirements/runtime.txt
# The library of what signs for the operator, by ADMIN_SIGNER: pkcs11, aws, google or azure. By default none.
ARG SIGNER
# What exports traces, for TRACING; any text for yes. By default it isn't there.
ARG TRACING
RUN for extra in $SIGNER ${TRACING:+tracing}; do /build/bin/pip --python /opt/maskinporten-operator/bin/python3 install \
      --require-hashes --no-deps --no-compile --only-binary :all: --requirement "requirements/$extra.txt" || exit 1; done
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
# Installed by its name: a wheel that is installed by its path leaves that, and its hash, in direct_url.json.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /build/bin/pip --python /opt/maskinporten-operator/bin/python3 install \
      --no-deps --no-compile --no-index --find-links /tmp/wheel maskinporten-operator
# Compiled here, since the root file system is read-only later. Python looks at the time of the source in an ordinary
# .pyc; in these there is a hash of it, which isn't checked. Left out: the typed objects of kubernetes, which aren't
# used (docs/decisions/0006) and would be 50 MB.
RUN /opt/maskinporten-operator/bin/python3 -m compileall -q -f --invalidation-mode unchecked-hash \
      -x '/kubernetes/(aio/)?client/(api|models)/[a-z]' /opt/maskinporten-operator/lib \
 && mkdir -p /image/opt \
 && mv /opt/maskinporten-operator /image/opt \
 && find /image -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +

FROM ${BASE_IMAGE}
COPY --from=build /image/ /
ENV PATH=/opt/maskinporten-operator/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number, so that the kubelet can tell that it isn't root. The programs take any: they need no name and no home.
USER 65532:65532
ENTRYPOINT ["maskinporten-operator"]
