"""Who issues tokens and answers calls. Each provider is a module that speaks its own dialect of OAuth."""
