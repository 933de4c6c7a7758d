//go:build race

package trials

// racing is true if the race detector is on in this program, which is also the server. Both then need
// more memory and time.
const racing = true
