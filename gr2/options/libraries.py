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

COUNT = """
    save_total_limit per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps
    eval_accumulation_steps torch_empty_cache_steps dataloader_prefetch_factor dataset_num_proc ddp_timeout
    ddp_bucket_cap_mb max_tool_calling_iterations num_generations_eval num_iterations steps_per_generation
    generation_batch_size ref_model_sync_steps vllm_tensor_parallel_size
"""
POSITIVE = """
    num_train_epochs logging_steps save_steps eval_steps adam_epsilon temperature repetition_penalty delta
    sapo_temperature_neg sapo_temperature_pos vllm_server_timeout vllm_importance_sampling_cap
    vllm_importance_sampling_clip_max
"""
# A learning rate of 0 leaves the model as it was, which tests need.
NOT_NEGATIVE = """
    eval_delay dataloader_num_workers learning_rate weight_decay max_grad_norm warmup_steps neftune_noise_alpha
    router_aux_loss_coef num_completions_to_print beta epsilon epsilon_high entropy_coef entropy_coef_delta
    entropy_coef_max entropy_coef_min entropy_target off_policy_mask_threshold vespo_k_neg vespo_k_pos
    vespo_lambda_neg vespo_lambda_pos vllm_importance_sampling_clip_min
"""
SHARE = "min_p ref_model_mixup_alpha top_entropy_quantile"
BELOW_ONE = "adam_beta1 adam_beta2 label_smoothing_factor"
TOKENS = "max_length max_completion_length vllm_max_model_length"

# The range of every number, as in `gr2.options.declare.arg`; `also` is one more value that the library takes.
LIMITS = {
    **{name: {"least": 1} for name in COUNT.split()},
    **{name: {"above": 0} for name in POSITIVE.split()},
    **{name: {"least": 0} for name in NOT_NEGATIVE.split()},
    **{name: {"least": 0, "most": 1} for name in SHARE.split()},
    **{name: {"least": 0, "below": 1} for name in BELOW_ONE.split()},
    **{name: {"least": 1, "most": 2**31 - 1} for name in TOKENS.split()},
    **{name: {"least": 0, "most": 2**32 - 1} for name in ("seed", "data_seed", "seeds")},  # what numpy takes
    **{name: {"above": 0, "most": 1} for name in ("top_p", "vllm_gpu_memory_utilization")},
    **{name: {"least": 1, "most": 65_535} for name in ("vllm_group_port", "vllm_server_port")},
    "max_steps": {"least": 1, "also": -1},
    "top_k": {"least": 0, "also": -1},
    "local_rank": {"least": -1},
    "num_generations": {"least": 2},
    "reward_weights": {"least": -1e6, "most": 1e6},
}
