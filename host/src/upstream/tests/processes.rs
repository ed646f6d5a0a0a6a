//! Nothing of a server outlives its connection.
