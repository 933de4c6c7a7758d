//go:build race

package trials

// racing reports whether the race detector is on, in this program and in the server, which is the same
// program. It needs more memory and time.
const racing = true
