//! What `tollgate-relay` does besides serving.
