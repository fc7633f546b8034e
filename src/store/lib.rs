//! Enrolled machines: CA and hash directories, re-read with the last good kept
