"""Light core: what `analysis` needs, no torch. Extras add the rest; requirements/*.lock pin everything
(see scripts/setup_env.sh)."""

from setuptools import find_packages, setup

CORE = [
    "numpy>=2.0",  # arrays everywhere
    "scipy>=1.13",  # exact intervals, beta-binomial, tests
    "pyarrow>=17",  # Parquet, CSV, JSON lines, streaming
    "matplotlib>=3.9",  # figures at paper size
    "plotly>=6.0",  # the interactive report
    "jinja2>=3.1",  # the report's page
    "tqdm>=4.66",  # progress bars
]
TRAIN = [  # vLLM itself is left to the lock files: its CPU build names packages that cannot be installed beside it
    "torch>=2.11",
    "deepspeed==0.19.8",
    "ray==2.60.0",
    "transformers>=5.16.1,<5.20",
    "peft==0.21.2",  # learner.lora: adapters, in the format that others read
    "omegaconf==2.4.0",
    "psutil>=6",  # the network interface that leads to another node
    "wandb>=0.31",
    "tensorboard>=2.21",
]
VERIFY = ["math-verify==0.9.0", "reasoning-gym==0.1.25", "pyseccomp>=0.1.2"]
DEV = [
    "pytest>=9",
    "pytest-timeout>=2.4",
    "hypothesis>=6.100",
    "playwright>=1.60",
    "ruff==0.17.6",  # lint and format, settings in pyproject.toml
    "basedpyright==1.40.2",  # pyright from PyPI alone: the original fetches itself from npm
]

setup(
    name="explore-rl",
    version="0.1.0",
    license="Apache-2.0",
    description="Exploration-augmented RLVR on Ray, DeepSpeed and vLLM, and an honest measure of what it did",
    python_requires=">=3.11",
    packages=[*find_packages(include=["explore_rl", "explore_rl.*", "analysis", "analysis.*"]), "explore_rl.configs"],
    package_dir={"explore_rl.configs": "configs"},  # so that `explore-rl train lab/grpo` works anywhere
    include_package_data=True,
    package_data={
        "explore_rl": ["py.typed"],
        "explore_rl.lab": ["base_model/*", "worked_model/*"],
        "explore_rl.configs": ["*/*.yaml"],
        "analysis": ["py.typed", "report/*.html", "report/*.css", "report/*.js"],
    },
    install_requires=CORE,
    extras_require={
        "verify": VERIFY,
        "cpu": TRAIN + VERIFY,
        "gpu": TRAIN + VERIFY + ["vllm==0.32.0"],
        "dev": DEV,
    },
    entry_points={"console_scripts": ["explore-rl = explore_rl.cli:console"]},
)
