# The client, for containerised development environments (docs/containers.md):
#
#   docker build -t ktnet .
#   docker run --rm -it --cap-add NET_ADMIN --device /dev/net/tun \
#       -v ~/.kube/config:/root/.kube/config:ro ktnet connect -n NAMESPACE
#
# Containers that share its network (--network container:...) see the cluster as it does. Build
# arguments are those of shadow-image/Dockerfile; a folder of wheels has to hold setuptools too.
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE} AS build

ARG WHEELS=requirements.lock
ARG PIP_OPTIONS=
COPY ${WHEELS} /wheels/
COPY requirements.lock /build/
RUN python -m pip install --no-cache-dir --no-compile --no-deps --require-hashes \
        --only-binary :all: --disable-pip-version-check --root-user-action ignore \
        ${PIP_OPTIONS} --target /opt/ktnet -r /build/requirements.lock && rm -rf /opt/ktnet/bin
COPY pyproject.toml README.md LICENSE /build/
COPY ktnet /build/ktnet
RUN python -m pip install --no-cache-dir --no-compile --no-deps \
        --disable-pip-version-check --root-user-action ignore \
        ${PIP_OPTIONS} --target /opt/own /build \
    && cp -r /opt/own/. /opt/ktnet/ \
    # Of kubernetes, only the client's transport is used: its 1,800 models are never imported.
    && python -m compileall -q -x "kubernetes/(aio/)?client/(models|api)/" /opt/ktnet

FROM ${PYTHON_IMAGE}

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="ktnet" \
      org.opencontainers.image.description="Joins a container to a Kubernetes cluster's network" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/ktnet /opt/ktnet

# Not by PYTHONPATH: the part with root's rights is started without the caller's environment.
RUN python -c "import pathlib, site; p = pathlib.Path(site.getsitepackages()[0]); \
p.mkdir(parents=True, exist_ok=True); (p / 'ktnet.pth').write_text('/opt/ktnet\n')"

ENV PYTHONUNBUFFERED=1 \
    PATH=/opt/ktnet/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin

STOPSIGNAL SIGTERM
ENTRYPOINT ["ktnet"]
CMD ["--help"]
