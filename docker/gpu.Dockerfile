# The pinned GPU environment, as scripts/setup_env.sh makes it where there is a GPU. Not built, and no GPU met, by this project; linted by
# scripts/lint_docker.sh.
#   docker build -f docker/gpu.Dockerfile -t explore-rl:gpu .
#   docker run --rm --gpus all --ipc=host -v "$PWD/runs:/work/runs" explore-rl:gpu train mine.yaml
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04
# hadolint ignore=DL3008
RUN apt-get update -q \
    && apt-get install -yq --no-install-recommends build-essential git libnuma1 python3.12-dev python3.12-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /work
COPY . .
ENV DEVICE=gpu PYTHON=python3.12 PIP_NO_CACHE_DIR=1 PATH=/work/.venv/bin:$PATH
RUN bash scripts/setup_env.sh
ENTRYPOINT ["explore-rl"]
CMD ["--help"]
