# An agent that trains: the agent's image, and beside it an environment with torch of its own (/opt/train), which the catalog names.
#   docker build -f deploy/compose/agent-torch.Dockerfile --build-arg PYTHON_IMAGE=python:3.11-slim --build-arg AGENT=detctl/agent:bookworm .
ARG PYTHON_IMAGE=python:3.11-slim
ARG AGENT=detctl/agent

# A stage of its own: another version of detctl does not fetch torch again.
FROM ${PYTHON_IMAGE} AS train
ARG TORCH="torch torchvision"
RUN python3 -m venv /opt/train \
 && /opt/train/bin/python -m pip install --no-cache-dir --disable-pip-version-check ${TORCH} numpy pillow scikit-learn
COPY examples/digits /srv/recipes/digits
RUN /opt/train/bin/python /srv/recipes/digits/prepare.py /data/digits

FROM ${AGENT}
COPY --from=train /opt/train /opt/train
COPY --from=train /data/digits /data/digits
COPY examples/digits /srv/recipes/digits
COPY deploy/compose/catalog.toml /etc/detctl/catalog.toml
ENV DETCTL_AGENT_CATALOG=/etc/detctl/catalog.toml
