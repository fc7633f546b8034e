//! The server-side plugin: decides which machines get an identity
