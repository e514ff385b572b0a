# The pinned CPU environment, as scripts/setup_env.sh makes it. Not built by this project's own tests; linted by scripts/lint_docker.sh.
#   docker build -f docker/cpu.Dockerfile -t explore-rl:cpu .
#   docker run --rm --shm-size=2g -v "$PWD/runs:/work/runs" explore-rl:cpu train lab/grpo
FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update -q \
    && apt-get install -yq --no-install-recommends build-essential git libnuma1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /work
COPY . .
ENV DEVICE=cpu PIP_NO_CACHE_DIR=1 PATH=/work/.venv/bin:$PATH
RUN bash scripts/setup_env.sh
ENTRYPOINT ["explore-rl"]
CMD ["--help"]
