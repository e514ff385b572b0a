"""What is not part of the project: small published models by name, and models and data of the Hugging Face hub."""
