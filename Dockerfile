# The daemon: Python, git, ssh, automator; nothing else, and not root.
#
#   config   /etc/automator/config.toml   (mount it; secrets as files beside it)
#   state    /var/lib/automator           (a volume; may be lost, see docs/design.md)
#
# Behind a mirror: --build-arg PYTHON_IMAGE=..., and pip's own settings by --secret id=pip.conf.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/build && python -m venv /opt/automator
# The locks alone first: a change of the source does not install the libraries again.
COPY locks locks
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,required=false \
    /opt/build/bin/pip install --require-hashes -r locks/build.txt \
 && /opt/automator/bin/pip install --require-hashes -r locks/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY automator automator
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/automator/bin/pip install --no-deps --no-index /tmp/wheel/*.whl \
 && /opt/automator/bin/pip uninstall --yes --quiet pip setuptools \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/automator/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="automator" \
      org.opencontainers.image.description="Watches container registries and commits new image versions to a GitOps config repo" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git openssh-client \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && useradd --uid 10001 --user-group --no-log-init --shell /usr/sbin/nologin \
      --home-dir /var/lib/automator --create-home automator \
 && install -d /etc/automator
COPY --from=build /opt/automator /opt/automator
# The probes and metrics are asked from outside the container, so they listen on all its addresses.
ENV PATH=/opt/automator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AUTOMATOR_CONFIG=/etc/automator/config.toml \
    AUTOMATOR_STATE=/var/lib/automator \
    AUTOMATOR_DAEMON__LISTEN=0.0.0.0:8080
USER 10001:10001
WORKDIR /var/lib/automator
VOLUME ["/var/lib/automator"]
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m --retries=3 CMD ["automator", "health"]
ENTRYPOINT ["automator"]
CMD ["run"]
