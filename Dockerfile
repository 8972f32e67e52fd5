# The service as an image: docker build -t latebin . (podman needs --format docker for the health check)
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_COMPILE=0
WORKDIR /build
RUN python3 -m venv --without-pip /opt/build && python3 -m venv --without-pip /opt/latebin
COPY .lock/ .lock/
# The libraries' own tests are never imported, and so not compiled.
RUN python3 -m pip --python /opt/build/bin/python install \
    --no-deps --only-binary :all: --require-hashes -r .lock/build.txt \
 && python3 -m pip --python /opt/latebin/bin/python install \
    --no-deps --only-binary :all: --require-hashes -r .lock/service.txt \
 && /opt/latebin/bin/python -m compileall -q -j 0 -x '/tests?/' /opt/latebin/lib
COPY pyproject.toml README.md ./
COPY app/ app/
RUN /opt/build/bin/hatchling build --target wheel \
 && python3 -m pip --python /opt/latebin/bin/python install --compile --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="latebin" \
      org.opencontainers.image.description="An HTTP service that answers late, on purpose and on time." \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /opt/latebin /opt/latebin
# Modules were compiled when they were installed, and the file system may be read-only.
ENV PATH=/opt/latebin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    LATEBIN_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["latebin", "health"]
ENTRYPOINT ["latebin"]
CMD ["serve"]
