"""What gr2 knows of the options that its training stages take over from transformers and TRL."""

# Options whose value may be a file or folder that is read.
INPUTS = (
    "accelerator_config",
    "chat_template_path",
    "deepspeed",
    "fsdp_config",
    "resume_from_checkpoint",
    "teacher_model_name_or_path",
)

COUNT = {"least": 1}
POSITIVE = {"above": 0}
NOT_NEGATIVE = {"least": 0}
SHARE = {"least": 0, "most": 1}
PORT = {"least": 1, "most": 65_535}
SEED = {"least": 0, "most": 2**32 - 1}  # what numpy takes
TOKENS = {"least": 1, "most": 2**31 - 1}

# The range of every number, as in `gr2.options.declare.arg`; `also` is one more value that the library takes.
LIMITS = {
    "seed": SEED,
    "data_seed": SEED,
    "seeds": SEED,
    # the length of a training
    "max_steps": {"least": 1, "also": -1},
    "num_train_epochs": POSITIVE,
    "logging_steps": POSITIVE,
    "save_steps": POSITIVE,
    "eval_steps": POSITIVE,
    "eval_delay": NOT_NEGATIVE,
    "save_total_limit": COUNT,
    # batches
    "per_device_train_batch_size": COUNT,
    "per_device_eval_batch_size": COUNT,
    "gradient_accumulation_steps": COUNT,
    "eval_accumulation_steps": COUNT,
    "torch_empty_cache_steps": COUNT,
    "dataloader_num_workers": NOT_NEGATIVE,
    "dataloader_prefetch_factor": COUNT,
    "dataset_num_proc": COUNT,
    # the optimizer; a learning rate of 0 leaves the model as it was, which tests need
    "learning_rate": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "adam_beta1": {"least": 0, "below": 1},
    "adam_beta2": {"least": 0, "below": 1},
    "adam_epsilon": POSITIVE,
    "max_grad_norm": NOT_NEGATIVE,
    "warmup_steps": NOT_NEGATIVE,
    "label_smoothing_factor": {"least": 0, "below": 1},
    "neftune_noise_alpha": NOT_NEGATIVE,
    "router_aux_loss_coef": NOT_NEGATIVE,
    # several processes
    "local_rank": {"least": -1},
    "ddp_timeout": COUNT,
    "ddp_bucket_cap_mb": COUNT,
    # lengths and sampling
    "max_length": TOKENS,
    "max_completion_length": TOKENS,
    "temperature": POSITIVE,
    "top_p": {"above": 0, "most": 1},
    "top_k": {"least": 0, "also": -1},
    "min_p": SHARE,
    "repetition_penalty": POSITIVE,
    "max_tool_calling_iterations": COUNT,
    "num_completions_to_print": NOT_NEGATIVE,
    # reinforcement learning
    "num_generations": {"least": 2},
    "num_generations_eval": COUNT,
    "num_iterations": COUNT,
    "steps_per_generation": COUNT,
    "generation_batch_size": COUNT,
    "beta": NOT_NEGATIVE,
    "epsilon": NOT_NEGATIVE,
    "epsilon_high": NOT_NEGATIVE,
    "delta": POSITIVE,
    "reward_weights": {"least": -1e6, "most": 1e6},
    "ref_model_mixup_alpha": SHARE,
    "ref_model_sync_steps": COUNT,
    "top_entropy_quantile": SHARE,
    "entropy_coef": NOT_NEGATIVE,
    "entropy_coef_delta": NOT_NEGATIVE,
    "entropy_coef_max": NOT_NEGATIVE,
    "entropy_coef_min": NOT_NEGATIVE,
    "entropy_target": NOT_NEGATIVE,
    "off_policy_mask_threshold": NOT_NEGATIVE,
    "sapo_temperature_neg": POSITIVE,
    "sapo_temperature_pos": POSITIVE,
    "vespo_k_neg": NOT_NEGATIVE,
    "vespo_k_pos": NOT_NEGATIVE,
    "vespo_lambda_neg": NOT_NEGATIVE,
    "vespo_lambda_pos": NOT_NEGATIVE,
    # vLLM
    "vllm_gpu_memory_utilization": {"above": 0, "most": 1},
    "vllm_group_port": PORT,
    "vllm_server_port": PORT,
    "vllm_server_timeout": POSITIVE,
    "vllm_tensor_parallel_size": COUNT,
    "vllm_max_model_length": TOKENS,
    "vllm_importance_sampling_cap": POSITIVE,
    "vllm_importance_sampling_clip_max": POSITIVE,
    "vllm_importance_sampling_clip_min": NOT_NEGATIVE,
}
