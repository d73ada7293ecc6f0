# Rounds on the student's own responses: it writes, the measured judge scores, pairs within a level train it on.
#
#     make -f recipes/experiments/rounds.mk RUN=mine SIZE=full ROUNDS=3 SEED=0
#     make -f recipes/experiments/rounds.mk RUN=smoke SIZE=smoke         every stage with tiny limits
#     make -f recipes/experiments/rounds.mk RUN=mine START=ADAPTER       from an adapter of yours
#
# Rejection sampling and iterated DPO on rubric scores, as in Self-Rewarding Language Models (arXiv 2401.10020) and
# Iterative RPO (arXiv 2404.19733). The start is the adapter of end_to_end.mk of the same RUN, SIZE and SEED, which is
# trained if it is not there. The judge that selects the pairs also reports: check the texts with another.
#
# Logs go to logs/RUN/rounds, adapters to outputs/RUN/rounds/1, 2, ..., the score by level after each to
# results/RUN/rounds. More rounds later go on from those that are there. The user prompt that a round is evaluated on while
# it trains was in the data of its start: what counts is asked on test prompts.
RUN ?= smollm2-135m
SIZE ?= full
ROUNDS ?= $(if $(filter full,$(SIZE)),3,1)
include recipes/experiments/end_to_end.mk
.DEFAULT_GOAL := rounds

TRAINED := outputs/$(RUN)/rounds
OWN := data/$(RUN)/rounds
ASKED_ROUNDS := logs/$(RUN)/rounds
NUMBERS := $(shell seq $(ROUNDS))

# Flags of generation, of pairing and of training. At temperature 0.9 a cell has responses in and out of band.
smoke_OWN := --rubrics labyrinth --levels low --limit 24
full_OWN := --rubrics $(RUBRICS) --samples 5
OWN_RESPONSES ?= $(or $($(SIZE)_OWN),$(full_OWN))
# An untrained student may have nothing in band: the twins of the teacher's texts, four of them, are trained on as well.
smoke_PAIRING := --responses data_gen/seed/responses.jsonl --same-level 2 --limit 4
demo_PAIRING := --responses data_gen/seed/responses.jsonl --same-level 3 --level-pairs none --eval-prompts 1
full_PAIRING := $(TEXTS) --same-level 3 --level-pairs none --eval-prompts 1
PAIRING ?= $(or $($(SIZE)_PAIRING),$(full_PAIRING))
smoke_ROUND := --max_steps 2
full_ROUND := --max_steps -1 --num_train_epochs 1 --save_steps 20 --per_device_train_batch_size 8 \
	--gradient_accumulation_steps 2 --learning_rate 0.0004
ROUND_TRAINING ?= --sft_epochs 0 $(or $($(SIZE)_ROUND),$(full_ROUND))

# adapter of a round, 0 the start, and what it needs
adapter_of = $(if $(filter 0,$(1)),$(START),$(TRAINED)/$(1))
record_of = $(if $(filter-out 0,$(1)),$(S)/round-$(1)/train.json,$(NEEDS_cpt))
previous = $(shell echo $$(( $(1) - 1 )))

# $(call round,NUMBER,adapter that it begins with,record of that)
define round
$(call stage,round-$(1)/responses,$(OWN)/$(1)/own,$(DATA_CODE) $(THIS) $(3))
$(S)/round-$(1)/responses.json: COMMAND = cpt generate --teacher $(ENGINE)/student-$(call previous,$(1)) -M model_path=$(2) \
	-M tokenizer_path=$(2) --configured-by system_prompt $(OWN_RESPONSES) --temperature 0.9 \
	--max-tokens $(TOKENS) $(ANSWERING) --seed $(SEED)$(1) \
	--store $(OWN)/$(1)/own/calls.sqlite --out $(OWN)/$(1)/own/responses.jsonl
$(call stage,round-$(1)/scores,$(OWN)/$(1)/scored,$(DATA_CODE) $(THIS) $(S)/round-$(1)/responses.json)
$(S)/round-$(1)/scores.json: COMMAND = cpt verify $(OWN)/$(1)/own/responses.jsonl --keep all --out $(OWN)/$(1)/scored
$(call stage,round-$(1)/pairs,$(OWN)/$(1)/pairs,$(DATA_CODE) $(THIS) $(S)/round-$(1)/scores.json)
$(S)/round-$(1)/pairs.json: COMMAND = cpt twins --responses $(OWN)/$(1)/scored/responses.jsonl $(PAIRING) --seed $(SEED)$(1) \
	--out $(OWN)/$(1)/pairs
$(call stage,round-$(1)/train,$(TRAINED)/$(1),$(CONFIG) $(TRAINING) $(THIS) $(S)/round-$(1)/pairs.json $(3))
$(S)/round-$(1)/train.json: COMMAND = $(LAUNCH) --config $(CONFIG) --init_adapter $(2) \
	--train_file $(OWN)/$(1)/pairs/train.jsonl --eval_file $(OWN)/$(1)/pairs/eval.jsonl --seed $(SEED) \
	--output_dir $(TRAINED)/$(1) $(ROUND_TRAINING)
endef
THIS := recipes/experiments/rounds.mk $(S)/rounds_settings
$(foreach one,$(NUMBERS),$(eval $(call round,$(one),$(call adapter_of,$(call previous,$(one))),$(call \
	record_of,$(call previous,$(one))))))

# What is asked for beside SETTINGS and START; the number of rounds is not among it.
$(eval $(call written,rounds_settings,$(TOKENS) $(OWN_RESPONSES) $(PAIRING) $(ROUND_TRAINING)))

# OTHER_DPO="shuffled no_sft_term" also trains the twins by two other objectives, from the same SFT: plain DPO on pairs in
# random order, and whole twins, both without the SFT term of the loss, which `twins` has.
OTHER_DPO ?=
SFT := $(if $(shell grep -E '^sft_epochs: *0*[.]?0*[1-9]' $(CONFIG)),sft)
$(if $(OTHER_DPO),$(if $(SFT),,$(error OTHER_DPO: got $(CONFIG) without sft_epochs, expected an SFT stage to begin with)))
FLAGS_no_sft_term := --loss_type sigmoid --loss_weights 1.0
FLAGS_shuffled := $(FLAGS_no_sft_term) --twin_batching false
define other_dpo
$(call stage,$(1)/train,outputs/$(RUN)/$(1),$(CONFIG) $(TRAINING) $(THIS) $(S)/train.json)
$(S)/$(1)/train.json: COMMAND = $(LAUNCH) --config $(CONFIG) --init_adapter $(ADAPTER)/sft --train_file $(DATA)/train.jsonl \
	--eval_file $(DATA)/eval.jsonl --output_dir outputs/$(RUN)/$(1) --seed $(SEED) $($(SIZE)_TRAINING) --sft_epochs 0 $(FLAGS_$(1))
FOLDER_$(1) := outputs/$(RUN)/$(1)
NEEDS_$(1) := $(S)/$(1)/train.json
endef
$(foreach one,$(OTHER_DPO),$(eval $(call other_dpo,$(one))))

# asked on test prompts, in the order of the report: what the stages before the rounds made, too
POINTS := $(if $(TRAINED_HERE),base $(SFT) $(OTHER_DPO) twins,start) $(addprefix round-,$(NUMBERS))
FOLDER_sft := $(ADAPTER)/sft
point_adapter = $(or $(FOLDER_$(1)),$(call adapter_of,$(if $(filter round-%,$(1)),$(1:round-%=%),0)))
point_record = $(or $(NEEDS_$(1)),$(call record_of,$(if $(filter round-%,$(1)),$(1:round-%=%),0)))
$(foreach one,$(POINTS),$(eval $(call benchmark,rounds/$(one),rubric_adherence,$(one),$(call \
	point_adapter,$(one)),-T limit_per_cell=$(PROMPTS),$(call point_record,$(one)))))

# Each of several rounds is also asked on train prompts under train wordings: what the best one is chosen by.
ON_TRAIN := $(if $(filter-out 1,$(ROUNDS)),$(NUMBERS))
$(foreach one,$(ON_TRAIN),$(eval $(call benchmark,rounds/on-train-$(one),rubric_adherence,round-$(one),$(call \
	adapter_of,$(one)),-T limit_per_cell=$(PROMPTS) -T user_prompts=train -T wording_split=train,$(call record_of,$(one)))))
ON_TRAIN := $(addprefix on-train-,$(ON_TRAIN))

ROUND_STAGES := $(if $(TRAINED_HERE),model data train $(OTHER_DPO:%=%/train)) $(foreach one,$(NUMBERS),$(patsubst \
	%,round-$(one)/%,responses scores pairs train)) $(addprefix rounds/,$(POINTS) $(ON_TRAIN)) rounds/report
.PHONY: rounds
rounds: $(S)/rounds/report.json
	@$(PYTHON) recipes/experiments/stage.py --keep $(RESULTS)/rounds $(S) $(ROUND_STAGES)
$(S)/rounds/report.json: COMMAND = cpt report $(addprefix $(ASKED_ROUNDS)/,$(POINTS)) --out $(RESULTS)/rounds
$(S)/rounds/report.json: $(patsubst %,$(S)/rounds/%.json,$(POINTS) $(ON_TRAIN)) FORCE
	@$(PYTHON) recipes/experiments/stage.py $@ $(COMMAND)
