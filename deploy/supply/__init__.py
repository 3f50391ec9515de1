"""What automator is made of, for those who must know: the audit of its libraries, and their list (SBOM)."""
