# How long a request holds in a conversation: the base model, an adapter, and one trained on with earlier turns.
#
#     make multi-turn    asks the adapter of make full
#     make -f recipes/experiments/multi_turn.mk START=ADAPTER HISTORY=own,seed    another adapter, more arms
#     make -f recipes/experiments/multi_turn.mk START=ADAPTER SIZE=smoke          every stage with tiny limits
#
# The remedy, `history`, goes on from the adapter, with DPO on twins that have two earlier turns, at the level asked for in
# one row and at another in the other: what it gains is not told from what further training gains. Logs go to logs/RUN, the
# report to results/RUN. WHO says who is asked.
SIZE ?= full
SEED ?= 42
override RUN := $(if $(RUN),$(RUN)/)multi_turn$(if $(filter smoke,$(SIZE)),-smoke)$(if $(filter-out 42,$(SEED)),/seed-$(SEED))
START ?= outputs/smollm2-135m/adapter
WHO ?= base cpt history
CONFIG ?= recipes/configs/smollm2_135m_cpu.yaml
SETTINGS := $(SIZE) $(CONFIG) $(filter-out cpu,$(DEVICE))
.DEFAULT_GOAL := multi_turn
include recipes/experiments/stages.mk

DATA := data/$(RUN)
REMEDY := outputs/$(RUN)/history
# conversations per rubric and level, tokens a response
smoke_NUMBERS := 4 40
full_NUMBERS := 8 224
smoke_TWINS := --limit 4
smoke_TRAINING := --max_steps 2
# one twin at a time: with 1,024 tokens two take more than 24 GB
full_TRAINING := --max_steps 60 --per_device_train_batch_size 2 --gradient_accumulation_steps 2
FLAGS := -T levels=low,extremely_high -T switch=none,system_prompt,user $(if $(HISTORY),-T history=$(HISTORY)) \
	-T limit_per_cell=$(word 1,$($(SIZE)_NUMBERS))

$(eval $(call written,start,$(START)))
ADAPTER := $(S)/start $(START)/adapter_model.safetensors
$(eval $(call stage,data,$(DATA),$(DATA_CODE)))
$(S)/data.json: COMMAND = cpt twins $(TEXTS) --rubrics measured --wordings 2 --history 2 --eval-prompts 0 \
	$($(SIZE)_TWINS) --out $(DATA)
$(eval $(call stage,train,$(REMEDY),$(CONFIG) $(TRAINING) $(ADAPTER) $(S)/model.json $(S)/data.json))
$(S)/train.json: COMMAND = $(LAUNCH) --config $(CONFIG) --init_adapter $(START) --sft_epochs 0 --max_length 1024 \
	--train_file $(DATA)/train.jsonl --eval_file "" --output_dir $(REMEDY) --seed $(SEED) \
	$($(SIZE)_TRAINING)
$(START)/adapter_model.safetensors:
	$(error $(START) holds no adapter; run make full first, or pass START=FOLDER)

$(eval $(call written,history,$(HISTORY)))
# $(call asked,STAGE,NAME in logs,FOLDER of the model,what it needs)
define asked
$(call stage,$(1),logs/$(RUN)/$(1),$(BENCHMARK) $(S)/history $(4))
$(S)/$(1).json: ABOUT = $(if $(filter $(MODEL),$(3)),,--metadata adapter=$(2))
$(S)/$(1).json: COMMAND = $$(call evaluate,multi_turn,$(2),$(3),$(word 2,$($(SIZE)_NUMBERS)),logs/$(RUN)/$(1))
endef
ADAPTED := $(START)
$(eval $(call asked,base,$(NAME),$(MODEL),$(S)/model.json $(if $(IS_OTHER),$(ADAPTER))))
$(eval $(call asked,cpt,$(NAME)-tuned,$(START),$(ADAPTER)))
$(eval $(call asked,history,$(NAME)-tuned-history,$(REMEDY),$(S)/train.json))

.PHONY: multi_turn
multi_turn: $(S)/report.json
	@$(PYTHON) recipes/experiments/stage.py --keep results/$(RUN) $(S) model $(if $(filter history,$(WHO)),data train) $(WHO) report
$(S)/report.json: COMMAND = cpt report $(addprefix logs/$(RUN)/,$(WHO)) --out results/$(RUN)
$(S)/report.json: $(patsubst %,$(S)/%.json,$(WHO)) FORCE
	@$(PYTHON) recipes/experiments/stage.py $@ $(COMMAND)
