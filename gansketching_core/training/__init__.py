"""Training: fine-tuning with sketches, pretraining of base models and of sketchers."""
