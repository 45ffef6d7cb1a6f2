# Never run: it was written without Docker at hand.
# docker build -f docker/cpu.Dockerfile -t fsr:cpu . && docker run --rm -v "$PWD:/data" fsr:cpu infer party.jpg -o results
FROM python:3.11-slim

RUN apt-get update \
 && apt-get install --no-install-recommends -y build-essential libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /src
# Arguments of pip for torch: an index of CPU-only builds spares gigabytes.
ARG TORCH_ARGS=
# The versions that the checks pass with; torch first, then BasicSR beside it, as the Makefile does.
COPY .ci/constraints.txt .ci/constraints.txt
ENV PIP_CONSTRAINT=/src/.ci/constraints.txt PIP_NO_CACHE_DIR=1
RUN pip install $TORCH_ARGS torch torchvision
RUN pip install 'setuptools>=70' wheel Cython 'numpy>=1.26' 'scipy<1.18' \
 && pip install --no-build-isolation basicsr==1.4.2
COPY . .
RUN pip install --no-build-isolation '.[export,perceptual]' \
 && pip install --no-deps facenet-pytorch==2.6.0

WORKDIR /data
ENTRYPOINT ["fsr"]
CMD ["--help"]
