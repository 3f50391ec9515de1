# The daemon: Python, git, ssh, automator; nothing else, and not root. docs/install.md tells how to run it.
#
#   config   /etc/automator/config.toml   (mount it; secrets as files beside it)
#   state    /var/lib/automator           (a volume, where all clones are, too; may be lost)
#   /tmp                                  (a little, for moments; where it cannot be written, state serves)
#
# The base is any Debian with Python 3.11 or newer: the official image, or what deploy/image/base makes.
# Behind mirrors and proxies: the secrets pip.conf, ca.pem, apt.conf and sources.list, none of which stays.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
# Extras of pyproject.toml, with commas: notify, aws, azure, google.
ARG EXTRAS=notify
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore DEBIAN_FRONTEND=noninteractive
# Debian keeps what makes environments in a package of its own; the official image has it already.
RUN --mount=type=secret,id=apt.conf,target=/etc/apt/apt.conf.d/99build,required=false \
    --mount=type=secret,id=sources.list,target=/etc/apt/sources.list.d/build.list,required=false \
    python3 -c 'import ensurepip' 2>/dev/null \
 || { apt-get update && apt-get install --yes --no-install-recommends python3-venv; }
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/automator
# The locks alone first: a change of the source does not install the libraries again.
COPY locks locks
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,required=false \
    --mount=type=secret,id=ca.pem,target=/run/build/ca.pem,required=false \
    /opt/build/bin/pip install --require-hashes --requirement locks/build.txt \
 && for lock in runtime $(echo "$EXTRAS" | sed 's/[^,][^,]*/extra-&/g; s/,/ /g'); do \
      /opt/build/bin/pip --python /opt/automator/bin/python install --require-hashes --requirement "locks/$lock.txt" \
        || exit; done
COPY pyproject.toml README.md LICENSE ./
COPY automator automator
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/build/bin/pip --python /opt/automator/bin/python install --no-deps --no-index /tmp/wheel/*.whl \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/automator/lib

FROM ${PYTHON_IMAGE} AS system
# More of Debian's packages, with spaces: "gpg gpg-agent" for commits signed by GPG.
ARG PACKAGES=
# Perl is for subcommands of git that are not used here (send-email, svn), and for installing packages, which nobody does any
# more: a sixth of the image, and an interpreter that whoever gets in could use.
ENV DEBIAN_FRONTEND=noninteractive
RUN --mount=type=secret,id=apt.conf,target=/etc/apt/apt.conf.d/99build,required=false \
    --mount=type=secret,id=sources.list,target=/etc/apt/sources.list.d/build.list,required=false \
    apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git openssh-client ${PACKAGES} \
 && dpkg --purge --force-depends --force-remove-essential $(dpkg-query --show --showformat '${Package}\n' \
      perl perl-base 'perl-modules-*' 'libperl5*' liberror-perl git-man 2>/dev/null) \
 && useradd --uid 10001 --user-group --no-log-init --shell /usr/sbin/nologin \
      --home-dir /var/lib/automator --create-home --skel /nonexistent automator \
 && install -d /etc/automator
# What only builds need, and what names the machine of the build.
COPY deploy/image/strip.py /tmp/strip.py
RUN python3 /tmp/strip.py && rm /tmp/strip.py

# Copied as a whole, so that nothing of what was removed is in a layer below.
FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="automator" \
      org.opencontainers.image.description="Watches container registries and commits new image versions to a GitOps config repo" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=system / /
COPY --from=build /opt/automator /opt/automator
# The probes and metrics are asked from outside the container, so they listen on all its addresses, IPv6 too.
ENV PATH=/opt/automator/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/automator \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AUTOMATOR_CONFIG=/etc/automator/config.toml \
    AUTOMATOR_STATE=/var/lib/automator \
    AUTOMATOR_DAEMON__LISTEN=:8080
USER 10001:10001
WORKDIR /var/lib/automator
VOLUME ["/var/lib/automator"]
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m --retries=3 CMD ["automator", "health"]
ENTRYPOINT ["automator"]
CMD ["run"]
