# Builds the images of detctl, one target each. It uses the classic builder and no BuildKit syntax:
#   docker build --target coordinator -t detctl/coordinator .
#   docker build --target agent       -t detctl/agent .        without torch; docs/deploy.md explains images that train
#   docker build --target probe       -t detctl/probe .        only the probe's folder, for init containers
#   docker build --target cli         -t detctl/cli .
# All run as 65532 with a read-only root. They write to /var/lib/detctl, /run/detctl and /tmp.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS wheel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 SOURCE_DATE_EPOCH=1700000000
RUN apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY proto proto
COPY agent agent
COPY coordinator coordinator
COPY cli cli
RUN python -m pip wheel --no-deps --wheel-dir /wheels .

FROM ${PYTHON_IMAGE} AS coordinator-files
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=wheel /wheels /wheels
# The image has no pip, because nothing is installed into a running image.
RUN python -m venv --without-pip /opt/detctl \
 && python -m pip --python /opt/detctl/bin/python install --no-compile "$(echo /wheels/detctl-*.whl)[coordinator]"

FROM ${PYTHON_IMAGE} AS agent-files
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=wheel /wheels /wheels
RUN python -m venv --without-pip /opt/detctl \
 && python -m pip --python /opt/detctl/bin/python install --no-compile "$(echo /wheels/detctl-*.whl)[agent,kubernetes]" \
 && /opt/detctl/bin/python -m detctl_agent.sidecar.archive /opt/attach.pyz

FROM ${PYTHON_IMAGE} AS cli-files
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=wheel /wheels /wheels
RUN python -m venv --without-pip /opt/detctl \
 && python -m pip --python /opt/detctl/bin/python install --no-compile "$(echo /wheels/detctl-*.whl)[ca]"

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 65532 detctl \
 && useradd --uid 65532 --gid 65532 --home-dir /var/lib/detctl --no-create-home --shell /usr/sbin/nologin detctl \
 && install -d -o 65532 -g 65532 -m 0700 /var/lib/detctl /run/detctl
ENV PATH=/opt/detctl/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/var/lib/detctl
LABEL org.opencontainers.image.source="https://github.com/detctl/detctl" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /var/lib/detctl
USER 65532:65532
VOLUME ["/var/lib/detctl", "/run/detctl"]

FROM base AS coordinator
LABEL org.opencontainers.image.title="detctl coordinator"
COPY --from=coordinator-files /opt/detctl /opt/detctl
ENV DETCTL_COORDINATOR_HEALTH_SOCKET=/run/detctl/health.sock
EXPOSE 7450
HEALTHCHECK --interval=10s --timeout=8s --start-period=20s CMD ["detctl-coordinator", "health"]
ENTRYPOINT ["detctl-coordinator"]

FROM base AS agent
LABEL org.opencontainers.image.title="detctl agent"
COPY --from=agent-files /opt/detctl /opt/detctl
ENV DETCTL_AGENT_STATE=/var/lib/detctl/agent
HEALTHCHECK --interval=10s --timeout=8s --start-period=20s CMD ["detctl-agent", "health"]
ENTRYPOINT ["detctl-agent"]

FROM base AS cli
LABEL org.opencontainers.image.title="detctl"
COPY --from=cli-files /opt/detctl /opt/detctl
ENTRYPOINT ["detctl"]

# `cp -r /probe/. /target`: a training image needs only this folder on PYTHONPATH, or attach.pyz with a recorder beside it.
FROM base AS probe
LABEL org.opencontainers.image.title="detctl probe"
COPY --from=agent-files /opt/detctl/lib/python3*/site-packages/detctl_probe /probe/detctl_probe
COPY --from=agent-files /opt/attach.pyz /probe/attach.pyz
CMD ["cp", "-r", "/probe/.", "/target"]
