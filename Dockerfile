# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/corrente
COPY requirements.lock ./
RUN /opt/corrente/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY requirements-build.lock pyproject.toml README.md LICENSE ./
# What builds the wheel is locked too, in an environment that stays behind in this stage.
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement requirements-build.lock
COPY corrente ./corrente
COPY stream ./stream
COPY serving ./serving
COPY simulators ./simulators
COPY benchmarks ./benchmarks
RUN /opt/build/bin/python -m build --wheel --no-isolation \
    && /opt/corrente/bin/pip install --no-cache-dir --no-deps dist/*.whl
# Compiled beside the modules, where every user of the image finds them; a container starts warm on a processor like this.
RUN /opt/corrente/bin/corrente compile

FROM python:3.11-slim-bookworm
# On another processor than the one that built the image, kernels are compiled at the first start and kept: mount this
# folder to keep them over containers.
ENV PATH=/opt/corrente/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/var/cache/corrente
RUN useradd --system --uid 10001 --user-group corrente && install --directory --owner corrente --group corrente /var/cache/corrente
COPY --from=build /opt/corrente /opt/corrente
# `serve --host 0.0.0.0` refuses to start without CORRENTE_MODEL__VISITOR_SALT, a secret of at least 16 bytes, and without a
# key in Redis or in CORRENTE_FIRST_KEY_FILE. Secrets are given to the container (`docker run --env-file`), never to the image.
USER 10001:10001
VOLUME /var/cache/corrente
STOPSIGNAL SIGTERM
ENTRYPOINT ["corrente"]
CMD ["--help"]
