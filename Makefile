# Two commands do all set-up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
HEAVY := .venv/.heavy
# A test waits for servers and processes half of its time: twice as many workers as processors fill two of them.
WORKERS ?= 4
# Bytecode is kept, whatever the shell says: else thousands of processes compile lockgate, and each worker every test.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check heavy soak bench docs clean

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e '.[embedded,test,dev]'
	@touch $(STAMP)

demo: $(STAMP) ## a guarded release of examples/shop on an embedded PostgreSQL; the second one is a no-op
	@$(BIN)/lockgate demo

test: $(STAMP) ## the whole suite on PostgreSQL 16 and 18, and on the machine's own
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not soak and not heavy'

check: $(STAMP) ## format, lint, types, floors, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/generate_docs.py --check

docs: $(STAMP) ## write the generated pages anew
	$(BIN)/python tools/generate_docs.py

$(HEAVY): $(STAMP)
	$(BIN)/pip install -q -c constraints.txt -e '.[heavy]'
	@touch $(HEAVY)

heavy: $(HEAVY) ## stores whose clients weigh 1.3 GB together: LanceDB, a Chroma server, Milvus Lite
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m heavy

soak: $(STAMP) ## long chaos runs: every failpoint, every fault
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m soak

bench: $(STAMP) ## against peers from the registries, same server, pairs in one run
	$(BIN)/python bench/run.py
	$(BIN)/python bench/rehearsal.py
	$(BIN)/python bench/gate.py
	$(BIN)/python bench/tenants.py 1000 kill

clean:
	rm -rf .venv .mypy_cache .ruff_cache .artifacts build
