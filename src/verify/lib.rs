//! Decides whether evidence proves a machine: chain, attributes, credential, quote, policy
