//go:build race

package trials

// racing says that this program, and so a server that it is itself, pays for the race detector.
const racing = true
