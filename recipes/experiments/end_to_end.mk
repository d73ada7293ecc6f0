# The whole path on one small model: prepare it, make the data, benchmark, tune, benchmark again, report.
#
#     make demo          15 minutes on two quiet cores, with two of the four rubrics
#     make demo-smoke    the same path with tiny limits
#     make full          all data, every test prompt, all benchmarks, the curve over training
#     make -f recipes/experiments/end_to_end.mk RUN=mine SIZE=demo CONFIG=my.yaml
#     make -f recipes/experiments/end_to_end.mk RUN=mine SIZE=full START=ADAPTER    the benchmarks alone, of your adapter
#
# Reports go to results/RUN, logs to logs/RUN, the adapter to outputs/RUN/adapter. Another SEED, of training and of the
# responses, is another run, RUN/seed-SEED.
RUN ?= demo
SIZE ?= demo
SEED ?= 42
ifneq ($(SEED),42)
override RUN := $(RUN)/seed-$(SEED)
endif
CONFIG ?= recipes/configs/smollm2_135m_cpu.yaml
SETTINGS := $(SIZE) $(CONFIG) $(filter-out cpu,$(DEVICE))
.DEFAULT_GOAL := all
include recipes/experiments/stages.mk

DATA := data/$(RUN)/twins
ADAPTER := outputs/$(RUN)/adapter
# the adapter to benchmark, in rounds.mk to go on from
START ?= $(ADAPTER)
TRAINED_HERE := $(filter $(ADAPTER),$(START))
RESULTS := results/$(RUN)
LOGS := logs/$(RUN)

# User prompts per (rubric, level), tokens a response; flags of data, training and main benchmark. The demo is to be
# short, so it has two rubrics, the shorter texts of the first teacher, and no full-rubric baseline.
DEMO_RUBRICS := broadcast,reverie
smoke_NUMBERS := 1 40
demo_NUMBERS := 12 224
full_NUMBERS := 24 224
smoke_TWINS := --limit 4
demo_TWINS := --responses data_gen/seed/responses.jsonl --rubrics $(DEMO_RUBRICS) --wordings 2 --eval-prompts 1
full_TWINS := $(TEXTS) --rubrics measured --wordings 2 --eval-prompts 1
smoke_TRAINING := --max_steps 2
demo_TRAINING := --max_steps 60 --per_device_train_batch_size 8
full_TRAINING := --sft_batch_size 16 --per_device_train_batch_size 8
full_ADHERENCE := -T also=measured
smoke_BASELINE := full_rubric
full_BASELINE := full_rubric
# the other benchmarks, their flags, and the adapters the curve goes through (between the base model and the final one)
full_OTHERS := best_of_n dose_response composition paraphrase_robustness drift
FLAGS_best_of_n := -T n=4 -T limit_per_cell=4
FLAGS_dose_response := -T limit_per_cell=4
FLAGS_composition := -T max_pairs=3 -T limit_per_cell=3
FLAGS_paraphrase_robustness := -T position=both -T limit_per_cell=2
FLAGS_drift := -T limit_per_family=24
full_CURVE := $(if $(filter %/smollm2_135m_cpu.yaml,$(CONFIG)),sft checkpoint-80 checkpoint-160)
CURVE_FLAGS := -T limit_per_cell=4

RUBRICS := $(if $(filter demo,$(SIZE)),$(DEMO_RUBRICS),measured)
PROMPTS := $(word 1,$($(SIZE)_NUMBERS))
TOKENS := $(word 2,$($(SIZE)_NUMBERS))
OTHERS := $($(SIZE)_OTHERS)
CURVE := $(if $(TRAINED_HERE),$(if $($(SIZE)_CURVE),base $($(SIZE)_CURVE) final))

# who is asked: name in logs and reports, folder, what it needs
NAME_base := $(NAME)
NAME_full_rubric := $(NAME)
NAME_cpt := $(NAME)-cpt
FOLDER_base := $(MODEL)
FOLDER_full_rubric := $(MODEL)
FOLDER_cpt := $(START)
ADAPTED := $(START)
NEEDS_base = $(S)/model.json $(if $(IS_OTHER),$(NEEDS_cpt))
NEEDS_full_rubric = $(NEEDS_base)
NEEDS_cpt := $(if $(TRAINED_HERE),$(S)/train.json,$(START)/adapter_model.safetensors) $(S)/start

$(eval $(call written,start,$(START)))

$(eval $(call stage,data,$(DATA),$(DATA_CODE)))
$(S)/data.json: COMMAND = cpt twins $($(SIZE)_TWINS) --out $(DATA)

$(eval $(call stage,train,$(ADAPTER),$(CONFIG) $(TRAINING) $(S)/model.json $(S)/data.json))
$(S)/train.json: COMMAND = $(LAUNCH) --config $(CONFIG) --train_file $(DATA)/train.jsonl --eval_file $(DATA)/eval.jsonl \
	--output_dir $(ADAPTER) --seed $(SEED) $($(SIZE)_TRAINING)

# $(call benchmark,STAGE,TASK,NAME in logs,FOLDER of the model,flags,needs)
define benchmark
$(call stage,$(1),$(LOGS)/$(1),$(BENCHMARK) $(6))
$(S)/$(1).json: ABOUT = $(if $(filter $(MODEL),$(4)),,--metadata adapter=$(3))
$(S)/$(1).json: FLAGS = $(5)
$(S)/$(1).json: COMMAND = $$(call evaluate,$(2),$(3),$(4),$(TOKENS),$(LOGS)/$(1))
endef
MAIN_FLAGS := -T limit_per_cell=$(PROMPTS) $($(SIZE)_ADHERENCE)
MAIN := base $($(SIZE)_BASELINE) cpt
$(foreach who,$(MAIN),$(eval $(call benchmark,$(who),rubric_adherence,$(NAME_$(who)),$(FOLDER_$(who)),$(MAIN_FLAGS) \
	$(if $(filter full_rubric,$(who)),-T prompting=full_rubric),$(NEEDS_$(who)))))
$(foreach task,$(OTHERS),$(foreach who,base cpt,$(eval $(call \
	benchmark,$(task)/$(who),$(task),$(NAME_$(who)),$(FOLDER_$(who)),$(FLAGS_$(task)),$(NEEDS_$(who))))))
point_folder = $(or $(if $(filter base,$(1)),$(MODEL)),$(if $(filter final,$(1)),$(ADAPTER)),$(ADAPTER)/$(1))
$(foreach point,$(CURVE),$(eval $(call \
	benchmark,curve/$(point),rubric_adherence,$(point),$(call point_folder,$(point)),$(CURVE_FLAGS),$(S)/train.json)))

ASKED := base $($(SIZE)_BASELINE) cpt $(foreach task,$(OTHERS),$(task)/base $(task)/cpt)
CURVE_ASKED := $(addprefix curve/,$(CURVE))
MADE := model $(if $(TRAINED_HERE),data) base $($(SIZE)_BASELINE) $(if $(TRAINED_HERE),train) cpt \
	$(wordlist 3,99,$(filter-out full_rubric,$(ASKED)))
STAGES := $(MADE) report $(if $(CURVE),$(CURVE_ASKED) curve)

# Reports are quick and written anew every time: their own code is none of the above.
.PHONY: all
all: $(if $(CURVE),$(S)/curve.json) $(S)/report.json
	@$(PYTHON) recipes/experiments/stage.py --show $(LOGS)/cpt
	@$(PYTHON) recipes/experiments/stage.py --keep $(RESULTS) $(S) $(STAGES)
	@echo "page: $(RESULTS)/report.html   adapter: $(START)/   every response and judgment: inspect view --log-dir $(LOGS)"
$(S)/report.json: COMMAND = cpt report $(addprefix $(LOGS)/,$(ASKED)) --out $(RESULTS)
$(S)/report.json: $(patsubst %,$(S)/%.json,$(MADE)) FORCE
	@$(PYTHON) recipes/experiments/stage.py $@ $(COMMAND)
$(S)/curve.json: COMMAND = cpt report $(addprefix $(LOGS)/,$(CURVE_ASKED)) --out $(RESULTS)/curve
$(S)/curve.json: $(S)/report.json $(patsubst %,$(S)/%.json,$(CURVE_ASKED)) FORCE
	@$(PYTHON) recipes/experiments/stage.py $@ $(COMMAND)
