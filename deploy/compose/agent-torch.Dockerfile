# An agent that trains: the agent's image, with a separate environment that has torch (/opt/train). The catalog names it.
#   docker build -f deploy/compose/agent-torch.Dockerfile --build-arg PYTHON_IMAGE=python:3.11-slim --build-arg AGENT=detctl/agent:bookworm .
# Two build arguments choose torch. TORCH: packages and versions. TORCH_INDEX: a package index that has them, such as
# https://download.pytorch.org/whl/cpu for small wheels without CUDA. If it is empty or does not have them, pip takes its usual index.
ARG PYTHON_IMAGE=python:3.11-slim
ARG AGENT=detctl/agent

# This is a separate stage, so that a new version of detctl does not download torch again.
FROM ${PYTHON_IMAGE} AS train
ARG TORCH="torch torchvision"
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/train \
 && /opt/train/bin/python -m pip install numpy pillow scikit-learn \
 && { { [ -n "${TORCH_INDEX}" ] && /opt/train/bin/python -m pip install --index-url "${TORCH_INDEX}" ${TORCH}; } \
   || /opt/train/bin/python -m pip install ${TORCH}; }
COPY examples/digits /srv/recipes/digits
RUN /opt/train/bin/python /srv/recipes/digits/prepare.py /data/digits

FROM ${AGENT}
COPY --from=train /opt/train /opt/train
COPY --from=train /data/digits /data/digits
COPY examples/digits /srv/recipes/digits
COPY deploy/compose/catalog.toml /etc/detctl/catalog.toml
ENV DETCTL_AGENT_CATALOG=/etc/detctl/catalog.toml
