# How far tuning carries to rubrics it never saw: leave-rubrics-out over the twelve measured rubrics, in three folds.
#
#     make folds    all of it with seed 42
#     make -f recipes/experiments/folds.mk SIZE=full SEED=1    another run, folds/seed-1
#     make -f recipes/experiments/folds.mk SIZE=smoke          every stage with tiny limits
#
# Each fold trains on the eight rubrics outside it, and is asked for all twelve, as is the base model: every rubric has
# one adapter that never saw it and two that did. Adapters of 2 and 4 of the eight of fold 1, asked
# for fold 1 and their own, give the curve.
#
# All see a rubric as often: `--limit` draws 138 twins a rubric, on average, of 576 (24 user prompts in 24 wordings), for
# 25 steps of DPO. So a training on fewer rubrics is shorter. Every rubric has one text per user prompt and level
# (responses_second.jsonl would double four of them).
#
# The two outer levels alone. With all three, 552 twins, two epochs of SFT and 100 steps of DPO (a run not kept) the
# model had not learnt the eight rubrics that it was trained on: it mixed their styles whatever was asked for.
#
# Logs go to logs/RUN, adapters to outputs/RUN/NAME, the table of `folds_table.py` to results/RUN/report.md.
SIZE ?= full
SEED ?= 42
RUN ?= folds$(if $(filter smoke,$(SIZE)),-smoke)
ifneq ($(SEED),42)
override RUN := $(RUN)/seed-$(SEED)
endif
CONFIG ?= recipes/configs/smollm2_135m_cpu.yaml
SETTINGS := $(SIZE) $(CONFIG) $(filter-out cpu,$(DEVICE))
.DEFAULT_GOAL := folds
include recipes/experiments/stages.mk

# Both families are in each fold, and no two rubrics that move one another's score (seed texts at the top level against
# those at the bottom: overheard moves broadcast and questioning by over 50 points, unfolding labyrinth).
FOLD_1 := field_notes reverie questioning unfolding
FOLD_2 := broadcast tongue_twister asides doubtful
FOLD_3 := labyrinth overheard how_to antithesis
TWELVE := $(FOLD_1) $(FOLD_2) $(FOLD_3)

# what each adapter is trained on, and what it is asked for
TRAINED_fold-1 := $(filter-out $(FOLD_1),$(TWELVE))
TRAINED_fold-2 := $(filter-out $(FOLD_2),$(TWELVE))
TRAINED_fold-3 := $(filter-out $(FOLD_3),$(TWELVE))
TRAINED_fold-1-of-4 := broadcast asides labyrinth how_to
TRAINED_fold-1-of-2 := broadcast asides
ADAPTERS := fold-1 fold-2 fold-3 fold-1-of-4 fold-1-of-2
asked_for = $(if $(findstring -of-,$(1)),$(FOLD_1) $(TRAINED_$(1)),$(TWELVE))

# twins of a training; user prompts per (rubric, level), tokens a response; flags of training
for_each_rubric = $(shell echo $$(( $(2) * $(words $(TRAINED_$(1))) )))
full_TWINS = $(call for_each_rubric,$(1),138)
smoke_TWINS := 8
full_NUMBERS := 24 224
smoke_NUMBERS := 1 40
smoke_TRAINING := --max_steps 2
full_TRAINING = --max_steps $(call for_each_rubric,$(1),25) --per_device_train_batch_size 8
NUMBERS := $($(SIZE)_NUMBERS)
TEXTS := --responses data_gen/seed/responses.jsonl --responses data_gen/seed/responses_more.jsonl
comma := ,
listed = $(subst $() ,$(comma),$(strip $(1)))

define trained
$(call stage,$(1)/data,data/$(RUN)/$(1),$(DATA_CODE))
$(S)/$(1)/data.json: COMMAND = cpt twins $(TEXTS) --rubrics $(call listed,$(TRAINED_$(1))) --wordings 24 \
	--level-pairs low:extremely_high --eval-prompts 0 --limit $(call $(SIZE)_TWINS,$(1)) --out data/$(RUN)/$(1)
$(call stage,$(1)/train,outputs/$(RUN)/$(1),$(CONFIG) $(TRAINING) $(S)/model.json $(S)/$(1)/data.json)
$(S)/$(1)/train.json: COMMAND = $(LAUNCH) --config $(CONFIG) --train_file data/$(RUN)/$(1)/train.jsonl \
	--eval_file "" --output_dir outputs/$(RUN)/$(1) --seed $(SEED) $(call $(SIZE)_TRAINING,$(1))
endef
$(foreach name,$(ADAPTERS),$(eval $(call trained,$(name))))

# $(call judged,NAME,FOLDER of the model,what it needs,its metadata)
define judged
$(call stage,$(1)/judged,logs/$(RUN)/$(1),$(BENCHMARK) $(3))
$(S)/$(1)/judged.json: ABOUT = $(4)
$(S)/$(1)/judged.json: RUBRICS = $(call listed,$(call asked_for,$(1)))
$(S)/$(1)/judged.json: FLAGS = -T levels=low,extremely_high -T limit_per_cell=$(word 1,$(NUMBERS))
$(S)/$(1)/judged.json: COMMAND = $$(call \
	evaluate,rubric_adherence,$(1),$(2),$(word 2,$(NUMBERS)),logs/$(RUN)/$(1))
endef
ADAPTED := outputs/$(RUN)/fold-1
$(eval $(call judged,base,$(MODEL),$(S)/model.json $(if $(IS_OTHER),$(S)/fold-1/train.json)))
$(foreach name,$(ADAPTERS),$(eval $(call \
	judged,$(name),outputs/$(RUN)/$(name),$(S)/$(name)/train.json,--metadata adapter=$(name))))

STAGES := model base/judged $(foreach name,$(ADAPTERS),$(name)/data $(name)/train $(name)/judged)
.PHONY: folds
folds: $(patsubst %,$(S)/%.json,$(STAGES))
	@$(PYTHON) recipes/experiments/stage.py --keep results/$(RUN) $(S) $(STAGES)
	@$(PYTHON) recipes/experiments/stage.py $(S)/report.json python recipes/experiments/folds_table.py \
		results/$(RUN)/logs --folds $(foreach fold,1 2 3,$(call listed,$(FOLD_$(fold)))) --out results/$(RUN)/report.md
