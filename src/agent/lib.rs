//! The agent-side plugin: answers with the machine's own TPM
