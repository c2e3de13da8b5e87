"""Names in tables that need TensorFlow: recipes, likelihoods, objectives. Tests compare them."""

RECIPES = (
    "vae", "conditional_vae", "beta_vae", "capacity_beta_vae", "beta_tc_vae", "dip_vae",
    "dip_vae_ii", "info_vae", "wae_mmd_imq", "wae_mmd_rbf", "swae", "iwae", "miwae", "ciwae",
    "piwae", "log_cosh_vae", "sigma_vae", "gamma_vae", "categorical_vae", "joint_vae",
    "hyperspherical_vae", "planar_flow_vae", "iaf_vae", "vamp_prior_vae", "mixture_prior_vae",
    "ae", "rae_l2", "rae_gp", "vq_vae", "two_stage_vae",
    "adversarial_autoencoder", "wae_gan", "factor_vae", "vae_gan", "deep_feature_vae",
    "ms_ssim_vae", "von_mises_fisher_vae", "poincare_vae", "hamiltonian_vae",
    "riemannian_hamiltonian_vae", "two_layer_iwae", "ladder_vae", "hierarchical_vamp_vae", "m2",
    "m1_m2", "ccvae", "missing_miwae", "not_miwae", "rq_vae", "hrq_vae", "fsq_vae", "lfq_vae",
    "top_down_vae", "recurrent_vae", "sentence_vae", "vrnn", "vq_vae_2",
)  # fmt: skip
LIKELIHOODS = (
    "bernoulli", "continuous_bernoulli", "normal", "shared_normal", "logistic", "laplace",
    "student_t", "poisson", "negative_binomial", "zero_inflated_negative_binomial",
)  # fmt: skip
OBJECTIVES = (
    "CIWAE", "DIP", "ELBO", "IWAE", "MIWAE", "MMD", "MSSSIM", "PIWAE", "Adversarial", "BetaTC",
    "CodeEntropy", "DeepFeatures", "FactorTC", "Hamiltonian", "LabelCharacteristics",
    "LearnedSimilarity", "RegularizedAE", "RiemannianHamiltonian", "SemiSupervised",
    "SlicedWasserstein",
)  # fmt: skip
