"""What settings are called by verl, TRL and OpenRLHF. For error texts alone; a recipe has one name a setting."""

from __future__ import annotations

import re

# Our setting -> their names of it, in lower case with _ for -. Sections and prefixes in front of a name do not matter,
# but where a name here has some itself.
THEIRS = {
    # sizes
    "algorithm.group_size": "n num_generations n_samples_per_prompt group_size",
    "run.evaluate_samples": "num_generations_eval val_kwargs.n eval_n_samples_per_prompt",
    "algorithm.prompts_per_step": "train_batch_size rollout_batch_size gen_batch_size generation_batch_size batch_size",
    "algorithm.minibatches": "ppo_mini_batch_size steps_per_generation",
    "algorithm.epochs": "num_iterations ppo_epochs max_epochs",
    "learner.micro_batch_tokens": (
        "gradient_accumulation_steps ppo_micro_batch_size ppo_micro_batch_size_per_gpu ppo_max_token_len_per_gpu"
        " micro_train_batch_size micro_rollout_batch_size per_device_train_batch_size train_max_tokens_per_gpu"
        " rollout_max_tokens_per_gpu log_prob_micro_batch_size log_prob_micro_batch_size_per_gpu"
        " log_prob_max_token_len_per_gpu forward_micro_batch_size_per_gpu use_dynamic_bsz use_dynamic_batch"
        " log_prob_use_dynamic_bsz auto_find_batch_size"
    ),
    "rollout.max_new_tokens": (
        "max_completion_length max_response_length response_length generate_max_len max_tokens max_len max_length"
        " overlong_buffer.max_resp_len"
    ),
    "model.max_prompt_tokens": "max_prompt_length prompt_max_len prompt_length",
    # optimizer
    "learner.learning_rate": "lr learning_rate actor_learning_rate",
    "learner.critic_learning_rate": "critic.optim.lr critic_lr critic_learning_rate",
    "learner.schedule": "lr_scheduler lr_scheduler_type warmup_style num_cycles",
    "learner.warmup_steps": "lr_warmup_steps warmup_steps lr_warmup_steps_ratio lr_warmup_ratio warmup_ratio",
    "learner.min_learning_rate": "min_lr min_lr_ratio lr_scheduler_kwargs",
    "learner.max_grad_norm": "grad_clip clip_grad max_norm",
    "learner.betas": "adam_betas adam_beta1 adam_beta2",
    "learner.weight_decay": "l2",
    "learner.optimizer": "optim",
    "learner.activation_checkpointing": (
        "gradient_checkpointing enable_gradient_checkpointing gradient_checkpointing_kwargs"
        " gradient_checkpointing_use_reentrant enable_activation_offload"
    ),
    "learner.offload_optimizer": "optimizer_offload adam_offload offload_policy",
    "learner.packing": "packing_samples use_remove_padding padding_free",
    "learner.lora": (
        "lora_rank lora_r lora_alpha lora_dropout lora_target_modules target_modules exclude_modules use_peft lora.rank"
        " lora.alpha"
    ),
    "learner.zero_stage": "fsdp fsdp_size fsdp_config strategy reshard_after_forward",
    "learner.deepspeed": "zpg grad_accum_dtype overlap_comm forward_prefetch ds3_gather_for_generation",
    # algorithm
    "algorithm.advantage": "adv_estimator advantage_estimator",
    "algorithm.divide_by_std": "norm_adv_by_std_in_grpo scale_rewards no_advantage_std_norm",
    "algorithm.aggregation": "loss_type loss_agg_mode loss_scale_factor",
    "algorithm.loss": "policy_loss loss_mode policy_loss_type importance_sampling_level",
    "algorithm.loss_options": (
        "clip_cov_ratio clip_cov_lb clip_cov_ub kl_cov_ratio ppo_kl_coef sapo_temperature_neg sapo_temperature_pos"
    ),
    "algorithm.clip_low": "epsilon eps_clip clip_ratio clip_ratio_low cliprange",
    "algorithm.clip_high": "eps_clip_low_high epsilon_high clip_ratio_high",
    "algorithm.dual_clip": "clip_ratio_c delta dual_clip",
    "algorithm.kl_coefficient": "beta kl_coef kl_loss_coef init_kl_coef",
    "algorithm.kl": "kl_penalty kl_loss_type kl_estimator use_kl_loss kl_type kl_ctrl.type",
    "algorithm.kl_place": "use_kl_in_reward",
    "algorithm.entropy_coefficient": "entropy_coeff entropy_loss_coef entropy_coef",
    "algorithm.mask_truncated": "mask_truncated_completions overlong_filter",
    "algorithm.dynamic_sampling_rounds": (
        "max_num_gen_batches dynamic_filtering filter_groups filter_groups.enable dynamic_filtering_reward_range"
    ),
    "algorithm.importance_cap": (
        "vllm_importance_sampling_cap vllm_importance_sampling_correction vllm_importance_sampling_mode"
        " rollout_is_threshold rollout_is rollout_correction tis_imp_ratio_cap enable_vllm_is_correction"
        " vllm_is_truncated_threshold"
    ),
    "algorithm.old_logprob": "bypass_mode calculate_log_probs",
    # engines
    "rollout.tensor_parallel": (
        "tensor_model_parallel_size tensor_parallel_size vllm_tensor_parallel_size rollout.tp_size"
    ),
    "rollout.actors": "vllm_num_engines data_parallel_size",
    "rollout.max_num_seqs": "vllm_generate_batch_size per_device_eval_batch_size val_batch_size eval_batch_size",
    "rollout.gpu_memory_utilization": "vllm_gpu_memory_utilization",
    "rollout.engine": (
        "engine_kwargs vllm_max_model_length vllm_model_impl max_model_len max_num_batched_tokens"
        " enable_chunked_prefill enable_prefix_caching cudagraph_capture_sizes"
    ),
    "rollout.stop": "stop_strings stop_words",
    "rollout.streaming": "async_train rollout.mode",
    "run.max_staleness": "async_queue_size staleness_threshold max_async_level",
    "devices.colocate": (
        "colocate_all_models vllm_enable_sleep vllm_enable_sleep_mode vllm_mode free_cache_engine hybrid_engine"
        " colocate_actor_ref"
    ),
    "devices.offload_learner": "deepspeed_enable_sleep param_offload",
    "learner.ranks": "n_gpus_per_node nproc_per_node actor_num_gpus_per_node num_processes actor_num_nodes",
    "devices.ray_address": "nnodes ray_init",
    "devices.step_timeout_s": "ddp_timeout nccl_timeout",
    "devices.start_timeout_s": "vllm_server_timeout ray_wait_register_center_timeout",
    "devices.device": "trainer.device use_cpu",
    # model and data
    "model.path": "pretrain model_name_or_path model_name model_id model_revision",
    "model.dtype": "torch_dtype param_dtype model_dtype bf16 fp16",
    "model.attention": "attn_implementation attn flash_attn",
    "model.template": (
        "chat_template custom_chat_template input_template apply_chat_template chat_template_kwargs"
        " apply_chat_template_kwargs system_prompt"
    ),
    "problems.train": "train_files train_file prompt_data dataset dataset_name dataset_path dataset_config "
    "dataset_train_split prompt_split train_dataset",
    "problems.heldout": "val_files eval_dataset dataset_test_split eval_split",
    "problems.format": "prompt_key input_key label_key reward_fn_key answer_key",
    "problems.limit": "max_samples train_max_samples max_train_samples val_max_samples",
    "verifiers.options": (
        "reward_model reward_model_path reward_model_name_or_path reward_pretrain reward_weights"
        " custom_reward_function custom_reward_function.path custom_reward_function.name reward_funcs remote_rm_url"
        " reward_manager agent_func_path compute_score"
    ),
    # the run
    "seed": "data_seed data_loader_seed random_seed",
    "run.steps": "total_training_steps max_steps total_epochs num_train_epochs num_episodes total_episodes",
    "run.checkpoint_every": "save_freq save_steps save_strategy",
    "run.keep_checkpoints": (
        "save_total_limit max_ckpt_num max_ckpt_mem max_actor_ckpt_to_keep max_critic_ckpt_to_keep"
    ),
    "run.portable_checkpoints": "use_ds_universal_ckpt",
    "run.evaluate_every": "test_freq eval_steps eval_strategy do_eval",
    "run.evaluations": (
        "val_kwargs val_kwargs.temperature val_kwargs.top_p val_kwargs.do_sample val_kwargs.top_k eval_temperature"
        " eval_top_p"
    ),
    "run.tracker": "logger report_to use_wandb use_tensorboard logging_dir",
    "tracking.project": "project_name wandb_project",
    "tracking.entity": "wandb_org wandb_entity entity_name",
    "tracking.group": "wandb_group",
    "tracking.run_name": "wandb_run_name",
    "tracking.rollouts": (
        "log_completions num_completions_to_print log_unique_prompts log_val_generations log_completions_hub_repo"
    ),
    "name": "experiment_name run_name exp_name",
    "run.output": "default_local_dir output_dir save_path ckpt_path checkpoint_dir",
}

# Names without a setting here -> how it is instead.
INSTEAD = {
    "repetition_penalty top_k min_p generation_kwargs do_sample ignore_eos": (
        "training draws from the model's whole distribution, since updates are taken for that; run.evaluations may set "
        "temperature and top_p"
    ),
    "use_vllm use_transformers_paged cache_implementation vllm_server_host vllm_server_port vllm_server_base_url"
    " vllm_group_port vllm_sync_backend vllm_sync_with_ray vllm_device rollout.name load_format rollout.dtype"
    " disable_ds_ckpt multi_stage_wake_up update_weights_bucket_megabytes rollout_tasks_per_gpu": (
        "completions are always drawn by vLLM engines of the run's own; rollout.actors says how many, model.dtype their"
        " type"
    ),
    "ref_num_nodes ref_num_gpus_per_node ref_reward_offload critic_num_nodes critic_num_gpus_per_node reward_num_nodes"
    " reward_num_gpus_per_node colocate_critic_reward": (
        "base model and critic are on the learner's ranks (learner.ranks), rewards come from verifiers"
    ),
    "gamma lam lambd value_clip cliprange_value critic_pretrain critic_warmup freezing_actor_steps save_value_network"
    " value_head_prefix critic.model.path": "a critic is the strategy ppo's: strategies=[{name: ppo, ...}]",
    "overlong_buffer_len overlong_penalty_factor overlong_buffer overlong_buffer.enable overlong_buffer.len"
    " overlong_buffer.penalty_factor": "that is the strategy soft_overlong: strategies=[{name: soft_overlong, ...}]",
    "sync_ref_model ref_model_mixup_alpha ref_model_sync_steps": (
        "a base that is refreshed is the strategy prorl's: strategies=[{name: prorl, ...}]"
    ),
    "ptx_coef": "a loss on given texts is a strategy's, such as likelihood: strategies=[{name: likelihood, ...}]",
    "resume_mode resume_from_path resume_from_checkpoint load_checkpoint resume": "explore-rl resume RUN",
    "push_to_hub hub_model_id hub_token hub_private_repo hub_strategy save_hf_ckpt default_hdfs_dir hdfs_path": (
        "final/ is a Hugging Face checkpoint; explore-rl export RUN[@STEP] DIR makes one of any step, --push-to-hub "
        "uploads it"
    ),
    "val_before_train eval_on_start val_only": (
        "the model is evaluated before the first step; without training: explore-rl sample"
    ),
    "logging_steps logging_strategy rollout_data_dir validation_data_dir logging_first_step disable_tqdm": (
        "every step and every rollout is kept in the run folder; explore-rl rollouts RUN shows them"
    ),
    "shuffle shuffle_dataset validation_shuffle sampler dataloader_num_workers filter_overlong_prompts"
    " filter_overlong_prompts_workers truncation remove_unused_columns balance_batch"
    " drop_last dataloader_drop_last prompt_data_probs": (
        "training problems are drawn in an order of the seed's, each once an epoch; a prompt that is too long is "
        "refused and never cut"
    ),
    "full_determinism disable_dropout": "runs can always be repeated, and learn without dropout",
    "cast_lm_head_to_fp32 logits_to_fp32": "log-probabilities are always taken in float32",
    "ulysses_sequence_parallel_size ring_attn_size ring_head_stride ds_tensor_parallel_size context_parallel_size"
    " pipeline_model_parallel_size expert_parallel_size": (
        "there is data parallelism with ZeRO alone: learner.ranks, learner.zero_stage"
    ),
    "local_rank ddp_find_unused_parameters accelerator_config num_cpus": (
        "Ray starts the processes; learner.ranks, rollout.actors and verifiers.workers say how many"
    ),
    "load_in_4bit load_in_8bit tf32": "weights are float32 or bfloat16 (model.dtype)",
    "model_init_kwargs override_config external_lib trust_remote_code tokenizer tokenizer_path disable_fast_tokenizer"
    " use_shm custom_cls actor_init_on_gpu": (
        "transformers loads model.path with its own tokenizer, and runs no code that comes with it"
    ),
    "use_liger_kernel use_liger use_liger_loss use_fused_kernels torch_compile use_torch_compile deepcompile perf"
    " entropy_from_logits_with_chunking entropy_checkpointing": (
        "log-probabilities are always taken in chunks; learner.packing and learner.share_prompts save the rest"
    ),
    "kl_target kl_horizon kl_ctrl.horizon kl_ctrl.target_kl kl_ctrl horizon target_kl": (
        "the KL has a constant coefficient: algorithm.kl_coefficient"
    ),
    "normalize_reward reward_clip_range multi_objective_aggregation": (
        "rewards are as verifiers give them, several added up by the verifier combine; algorithm.advantage says how "
        "groups are normalised"
    ),
    "multi_turn max_tool_calling_iterations tool_config_path agent image_key video_key return_multi_modal_inputs"
    " return_raw_input_ids return_raw_chat return_full_prompt limit_images": "prompts are text, completions one turn",
    "top_entropy_quantile off_policy_mask_threshold use_bias_correction_kl aux_loss_coef": (
        "none of the losses has it; one of your own is algorithm.loss=module:function, its parameters algorithm.loss_"
        "options"
    ),
    "vllm_structured_outputs_regex guided_decoding_regex": "nothing constrains completions; verifiers judge their form",
    "adam_epsilon adam_eps": "AdamW's epsilon is PyTorch's, 1e-8",
    "enable_ema ema_beta": "no moving average of the weights is kept",
    "load_best_model_at_end metric_for_best_model del_local_ckpt_after_load save_contents": (
        "final/ is the last step; explore-rl export RUN@STEP DIR makes a checkpoint of any kept one"
    ),
    "calculate_entropy filter_groups.metric": "entropy is in metrics.jsonl of every step, groups are judged by reward",
    "reward_model.enable": "rewards come from verifiers; a model that judges is the verifier judge",
}


def _by_name(table: dict[str, str]) -> dict[str, str]:
    return {name: ours for ours, names in table.items() for name in names.split()}


ALIASES = _by_name(THEIRS)
INSTEAD_OF = {name: said for names, said in INSTEAD.items() for name in names.split()}


def meant(key: str) -> tuple[str | None, str | None]:
    """Our setting for a key of verl, TRL or OpenRLHF, or else what there is instead; None twice where none is known.

    Of the key's last words as many as either table knows decide, whatever sections stand in front.

    >>> meant("actor_rollout_ref.actor.optim.lr"), meant("critic.optim.lr"), meant("--num-generations")[0]
    (('learner.learning_rate', None), ('learner.critic_learning_rate', None), 'algorithm.group_size')
    >>> meant("enable_ema")
    (None, 'no moving average of the weights is kept')
    """
    words = re.sub(r"[^a-z0-9.]", "_", key.lower().lstrip("-+")).split(".")
    return next((found for end in _ends(words) if any(found := _known(end))), (None, None))


def _known(name: str) -> tuple[str | None, str | None]:
    return ALIASES.get(name), INSTEAD_OF.get(name)


def _ends(words: list[str]) -> list[str]:
    """The last three, two and one words; then the same of the sections that the key is in."""
    return [
        ".".join(words[max(0, end - count) : end])
        for end in range(len(words), 0, -1)
        for count in (3, 2, 1)
        if count <= end
    ]
