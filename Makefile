.PHONY: help setup demo test

help:
	@echo "make demo   set up .venv and simulate AlexNet on the Eyeriss chip"
	@echo "make test   set up .venv and run the tests"

# One stamp file: set-up runs again only when what is installed may have changed.
.venv/installed: setup.cfg pyproject.toml constraints.txt
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[onnx,test]'
	touch .venv/installed

setup: .venv/installed

demo: .venv/installed
	.venv/bin/eyeriss-sim simulate alexnet --batch 4 --mapping published

test: .venv/installed
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -m 'not slow' -n 2 --dist loadfile \
		--no-loadscope-reorder
	.venv/bin/ruff check .
	.venv/bin/lint-imports --no-logo
	.venv/bin/mypy
