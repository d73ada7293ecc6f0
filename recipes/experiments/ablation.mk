# Which objective makes a model most configurable for the same pairs: every option of the recipe, and plain `trl dpo`.
#
#     make ablation    two and a half hours on one core
#     make -f recipes/experiments/ablation.mk STUDENT=tiny SEED=0
#
# All variants start from the same model that SFT made, see the same number of pairs of the same file, and are judged by
# `rubric_adherence` on test prompts and system prompts that no training saw. Reports go to results/ablations, of which
# `ablation_table.py` makes the table.
STUDENT ?= tiny
SEED ?= 42
RUN := ablation/$(STUDENT)-$(SEED)
.DEFAULT_GOAL := all
include recipes/experiments/stages.mk

CONFIG := recipes/experiments/ablation.yaml
DATA := data/ablation
OUT := outputs/$(RUN)
RESULTS := results/ablations/$(STUDENT)-$(SEED)

# A student: steps of DPO, four pairs each; whether products are computed in bfloat16; learning rate of DPO
STEPS := $(if $(filter smollm2,$(STUDENT)),40,100)
BF16 := $(if $(filter smollm2,$(STUDENT)),on,off)
RATE := $(if $(filter smollm2,$(STUDENT)),0.0003,0.001)

# Flags of dpo_lora.py. `trl_dpo` is not ours but TRL's own command on the same file, shuffled. At a gap of 90 points the
# offset is 2.3 reward units, and the beta of sigmoid_norm is Tulu 3's.
VARIANTS := shuffled twins twins_joint twins_offset twins_sft twins_norm
FLAGS_shuffled := --loss_type sigmoid --twin_batching false
FLAGS_twins := --loss_type sigmoid
FLAGS_twins_joint := --loss_type sigmoid --joint_weight 1
FLAGS_twins_offset := --loss_type sigmoid --score_offset 0.5
FLAGS_twins_sft := --loss_type sigmoid sft --loss_weights 1 1
FLAGS_twins_norm := --loss_type sigmoid_norm --beta 5
ALL := start trl_dpo $(VARIANTS)

# The data are the same for all students and seeds, so their record lies with them.
$(S)/data.json: COMMAND = cpt twins --wordings 2 --out $(DATA)
$(S)/data.json: $(DATA_CODE) $(if $(wildcard $(DATA)/train.jsonl),,FORCE)
	@$(PYTHON) recipes/experiments/stage.py $@ $(COMMAND)

FILES := --train_file $(DATA)/train.jsonl --eval_file $(DATA)/eval.jsonl
START_tiny = python recipes/experiments/prepare_tiny.py --train-file $(DATA)/train.jsonl --seed $(SEED) --out $(OUT)/start/merged
SFT_CONFIG := recipes/configs/smollm2_135m_cpu.yaml
START_smollm2 = $(LAUNCH) --config $(SFT_CONFIG) $(FILES) --max_steps -1 --num_train_epochs 0 --merge true --seed $(SEED) \
	--output_dir $(OUT)/start
START_READS := $(if $(filter tiny,$(STUDENT)),recipes/experiments/prepare_tiny.py,$(SFT_CONFIG) $(S)/model.json)
$(eval $(call stage,start,$(OUT)/start,$(TRAINING) $(START_READS) $(S)/data.json))
$(S)/start.json: COMMAND = $(START_$(STUDENT))

COMMON = --config $(CONFIG) --model_name_or_path $(OUT)/start/merged --output_dir $(OUT)/$(1) --seed $(SEED) \
	--max_steps $(STEPS) --learning_rate $(RATE)
$(foreach name,$(VARIANTS),$(eval $(call stage,$(name),$(OUT)/$(name),$(CONFIG) $(TRAINING) $(S)/start.json)))
$(foreach name,$(VARIANTS),$(eval $(S)/$(name).json: \
	COMMAND = $(LAUNCH) $(call COMMON,$(name)) $(FILES) --cpu_bf16 $(BF16) $(FLAGS_$(name))))
$(eval $(call stage,trl_dpo,$(OUT)/trl_dpo,$(CONFIG) $(RULES) $(S)/start.json))
$(S)/trl_dpo.json: COMMAND = trl dpo --accelerate_config recipes/accelerate/cpu.yaml $(call COMMON,trl_dpo) \
	--dataset_name $(DATA) --bf16 $(if $(filter on,$(BF16)),True,False)

FLAGS = -T limit_per_cell=8
define judged
$(call stage,$(1)/judged,logs/$(RUN)/$(1),$(BENCHMARK) $(S)/$(1).json)
$(S)/$(1)/judged.json: ABOUT = --metadata base=start $(if $(filter start,$(1)),,--metadata adapter=$(1))
$(S)/$(1)/judged.json: COMMAND = $$(call \
	evaluate,rubric_adherence,$(1),$(OUT)/$(if $(filter start,$(1)),start/merged,$(1)),224,logs/$(RUN)/$(1))
endef
$(foreach name,$(ALL),$(eval $(call judged,$(name))))

STAGES := $(if $(filter smollm2,$(STUDENT)),model) data $(foreach name,$(ALL),$(name) $(name)/judged) report
.PHONY: all
all: $(S)/report.json
	@$(PYTHON) recipes/experiments/stage.py --keep $(RESULTS) $(S) $(STAGES)
$(S)/report.json: COMMAND = cpt report $(addprefix logs/$(RUN)/,$(ALL)) --out $(RESULTS)
$(S)/report.json: $(patsubst %,$(S)/%/judged.json,$(ALL)) FORCE
	@$(PYTHON) recipes/experiments/stage.py $@ $(COMMAND)
