# syntax=docker/dockerfile:1
# aerostat on CPUs, with export to ONNX. Build and use:
#   docker build -t aerostat .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" aerostat train data/
FROM python:3.11-slim AS build
RUN python -m venv /opt/aerostat
ENV PATH=/opt/aerostat/bin:$PATH
WORKDIR /build
# What changes rarely comes first: a change of the source leaves the layers of the packages as they are.
COPY scripts/docker_install.sh scripts/
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip sh scripts/docker_install.sh torch
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip sh scripts/docker_install.sh requirements
COPY LICENSE README.md ./
COPY src src
RUN sh scripts/docker_install.sh package

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 aerostat && mkdir --mode 1777 /cache /work
COPY --from=build /opt/aerostat /opt/aerostat
# The home of the user may not exist under `--user`, so caches have a place of their own.
ENV PATH=/opt/aerostat/bin:$PATH AEROSTAT_HOME=/cache MPLCONFIGDIR=/cache/matplotlib
USER aerostat
WORKDIR /work
ENTRYPOINT ["aerostat"]
CMD ["--help"]
