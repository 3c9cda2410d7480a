# The client, for containerised development environments:
#
#   docker build -t ktnet .
#   docker run --rm -it --cap-add NET_ADMIN --device /dev/net/tun \
#       -v ~/.kube/config:/root/.kube/config:ro ktnet connect -n NAMESPACE
#
# Containers that share its network (--network container:...) see the cluster as it does.
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE}

COPY requirements.lock /tmp/
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock && rm /tmp/requirements.lock

COPY pyproject.toml README.md LICENSE /opt/ktnet/
COPY ktnet /opt/ktnet/ktnet
RUN pip install --no-cache-dir --no-deps /opt/ktnet && rm -r /opt/ktnet

LABEL org.opencontainers.image.title="ktnet" \
      org.opencontainers.image.description="Joins a container to a Kubernetes cluster's network" \
      org.opencontainers.image.licenses="Apache-2.0"

ENTRYPOINT ["ktnet"]
CMD ["--help"]
