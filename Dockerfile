# docker build --tag maskinporten-operator:0.1.0 .
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/maskinporten-operator
COPY requirements/ requirements/
# --no-deps: the lock file is complete, and leaves out what python-jose only names (docs/decisions/0002)
RUN /opt/maskinporten-operator/bin/pip install --require-hashes --no-deps --requirement requirements/runtime.txt
# The build backend by its hash too, and outside of what the image runs.
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements/dev.txt > /tmp/build.txt \
 && pip install --require-hashes --no-deps --requirement /tmp/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/maskinporten-operator/bin/pip install --no-deps /tmp/wheel/*.whl

FROM ${BASE_IMAGE}
COPY --from=build /opt/maskinporten-operator /opt/maskinporten-operator
ENV PATH=/opt/maskinporten-operator/bin:$PATH PYTHONUNBUFFERED=1
# By number, so that the kubelet can tell that it isn't root.
USER 65532:65532
ENTRYPOINT ["maskinporten-operator"]
