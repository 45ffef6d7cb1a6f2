from setuptools import find_packages, setup

setup(
    name='fsr_plugins',
    version='0.1.0',
    description='Face super-resolution on top of BasicSR: published methods as plugins',
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['fsr_plugins', 'fsr_plugins.*']),
    entry_points={
        'console_scripts': ['fsr = fsr_plugins.cli:main'],
        'fsr_plugins': ['tsnet = fsr_plugins.methods.tsnet'],
    },
)
