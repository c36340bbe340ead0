# An agent that trains: the agent's image, and beside it an environment with torch of its own (/opt/train), which the catalog names.
#   docker build -f deploy/compose/agent-torch.Dockerfile --build-arg AGENT=detctl/agent:bookworm --build-arg TORCH=torch==2.13.0 .
ARG AGENT=detctl/agent
FROM ${AGENT}
ARG TORCH=torch
USER root
# Not the agent's own interpreter: that one has no pip.
RUN system=$(ls /usr/local/bin/python3 /usr/bin/python3 2>/dev/null | head -n 1) \
 && "$system" -m venv /opt/train \
 && /opt/train/bin/python -m pip install --no-cache-dir --disable-pip-version-check "${TORCH}" numpy pillow scikit-learn
COPY examples/digits /srv/recipes/digits
COPY deploy/compose/catalog.toml /etc/detctl/catalog.toml
RUN /opt/train/bin/python /srv/recipes/digits/prepare.py /data/digits
USER 65532:65532
ENV DETCTL_AGENT_CATALOG=/etc/detctl/catalog.toml
