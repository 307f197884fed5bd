"""Shows trainings in TensorBoard and MLflow: two plugins in one package."""
