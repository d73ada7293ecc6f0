# Stages of an experiment, with files as targets. Included by the other rules here; needs RUN, its name, and SEED.
#
# A stage NAME has two files in $(S):
#     NAME.begun    newer than everything the stage reads; when that has changed, what it wrote moves to FOLDER-old
#     NAME.json     {"command", "seconds"}, once the command has ended well; started again after a kill, it goes on
# and is declared by
#     $(eval $(call stage,NAME,FOLDER it writes,files it reads))
#     $(S)/NAME.json: COMMAND = what a user could type
SHELL := /bin/bash
PYTHON := .venv/bin/python
S := outputs/$(RUN)/stages
# the model that is trained is the base that is asked; in logs and reports NAME is its name
SMOLLM2 := models/smollm2-135m-instruct
MODEL := $(patsubst %/,%,$(shell sed -n "s/^model_name_or_path: *[\"']*\([^ \"']*\).*/\1/p" $(CONFIG)))
$(if $(MODEL),,$(error $(CONFIG): got no model_name_or_path, expected a configuration of recipes/configs))
NAME := $(patsubst %-instruct,%,$(notdir $(MODEL)))
# what both teachers wrote for the four measured rubrics
TEXTS := --responses data_gen/seed/responses.jsonl --responses data_gen/seed/responses_second.jsonl

# One at a time: two trainings would share the cores. A target is not left half made.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: FORCE

# What every command reads beside its data: these rules, and every line of the packages it runs through.
python_of = $(sort $(shell find $(1) -name '*.py' -o -name '*.yaml' -o -name '*.jsonl'))
# rounds.mk goes on from a run of end_to_end.mk, which it does not change.
RULES := $(filter-out %/rounds.mk,$(MAKEFILE_LIST)) recipes/experiments/stage.py $(S)/settings
BENCHMARK := $(RULES) $(S)/asked $(call python_of,cpt_tasks judges rubrics model_calls)
DATA_CODE := $(RULES) $(call python_of,data_gen judges rubrics model_calls)
TRAINING := $(RULES) recipes/dpo_lora.py $(sort $(wildcard recipes/training/*.py)) \
	recipes/accelerate/cpu.yaml recipes/accelerate/single_gpu.yaml

# What was asked for on the command line is in files too, written when it changes: $(call written,NAME,TEXT).
define written
$(S)/$(1): FORCE
	@mkdir -p $$(@D)
	@echo '$(2)' | cmp -s - $$@ || echo '$(2)' > $$@
endef
$(eval $(call written,settings,$$(SETTINGS)))
$(eval $(call written,asked,$$(PROMPTS) $$(TOKENS) $(MODEL)))

define stage
$(S)/$(1).begun: $(3)
	@mkdir -p $$(@D)
	@if [ -e $(2)-old ] && [ -e $(S)/$(1).unfinished ]; then rm -rf $(2); fi
	@if [ -e $(2) ]; then rm -rf $(2)-old && mv $(2) $(2)-old && echo "$(2) was made with other settings: moved to $(2)-old"; fi
	@rm -f $(S)/$(1).unfinished
	@touch $$@
$(S)/$(1).json: $(S)/$(1).begun $(if $(wildcard $(2)),,FORCE)
	@$(PYTHON) recipes/experiments/stage.py $$@ $$(COMMAND)
endef

# The small model: kept between runs, so it is not moved; the script leaves a finished folder as it is. No other is prepared.
IS_PREPARED := $(or $(wildcard $(MODEL)/prepared.json),$(filter-out $(SMOLLM2),$(MODEL)))
$(S)/model.json: COMMAND = $(if $(filter $(SMOLLM2),$(MODEL)),python recipes/experiments/prepare_smollm2.py --out $(MODEL),true)
$(S)/model.json: recipes/experiments/prepare_smollm2.py $(if $(IS_PREPARED),,FORCE)
	@$(PYTHON) recipes/experiments/stage.py $@ $(COMMAND)

# DEVICE=gpu: the same on one graphics card, where transformers answers in place of OpenVINO
DEVICE ?= cpu
cpu_LAUNCH := accelerate launch --config_file recipes/accelerate/cpu.yaml recipes/dpo_lora.py
gpu_LAUNCH := accelerate launch --config_file recipes/accelerate/single_gpu.yaml recipes/dpo_lora.py --use_cpu false \
	--attn_implementation sdpa
cpu_ENGINE := openvino
gpu_ENGINE := hf
cpu_ANSWERING := --max-connections 128
gpu_ANSWERING := --max-connections 256 -M dtype=bfloat16
LAUNCH := $($(DEVICE)_LAUNCH)
ENGINE := $($(DEVICE)_ENGINE)
ANSWERING := $($(DEVICE)_ANSWERING)

# $(call evaluate,TASK,NAME in logs,FOLDER of the model,tokens a response,FOLDER of the log): the
# command that asks a local model a benchmark, judged by the measured judge; FLAGS, ABOUT and RUBRICS are a stage's own.
RUBRICS := measured
# The chat template of another base may have no system turn, or think: it is asked with the tokenizer of ADAPTED, an
# adapter that is compared with it.
IS_OTHER := $(filter-out $(SMOLLM2),$(MODEL))
tokenizer = $(if $(IS_OTHER),$(patsubst $(MODEL),$(ADAPTED),$(1)),$(1))
evaluate = inspect eval cpt_tasks/$(1) --model $(ENGINE)/$(2) -M model_path=$(3) -M tokenizer_path=$(call tokenizer,$(3)) \
	--metadata base=$(notdir $(MODEL)) $(ABOUT) -T judge=measured -T rubrics=$(RUBRICS) $(FLAGS) \
	--temperature 0.7 --seed $(SEED) --max-tokens $(4) \
	$(ANSWERING) --log-dir $(5)
