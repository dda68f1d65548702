# One image for every process of the platform; docker-compose.yml says which one a container runs.
FROM python:3.12-slim

# LightGBM's wheel needs OpenMP's runtime, which the slim image lacks; HAProxy stands before the prediction service.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends haproxy libgomp1 \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

# A volume that is mounted on /state for the first time takes over this folder's owner.
RUN useradd --create-home --uid 10001 betting && install --directory --owner betting --mode 0700 /state

WORKDIR /app
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

# Named one by one, as in .dockerignore, so that neither .env nor a state folder can get into the image.
COPY pyproject.toml README.md LICENSE dagster.yaml workspace.yaml ./
COPY betting_assets betting_assets
COPY bentos bentos
COPY feature_repo feature_repo
COPY deploy/haproxy deploy/haproxy
COPY deploy/compose deploy/compose
# Editable: a Bento is built from the sources beside requirements.lock, dagster.yaml and workspace.yaml.
RUN pip install --no-deps --editable . && python -m compileall -q betting_assets bentos feature_repo

USER betting
# HTTP and gRPC of the prediction service; the others are for operators on the same machine.
EXPOSE 3001 3002
ENV BETTING_HOME=/state
CMD ["betting", "--help"]
