// Package suite runs cases: it measures a server from outside, over TCP.
//
// It holds the contract of docs/spec.md against any program with the same command line: the
// four stages, a stage broken on purpose, or a server written by somebody else. So it imports
// nothing of the servers. The cases are in package cases.
//
// A [Case] names the claims that it proves. [Run] runs all cases as subtests, [RunProgram]
// runs them from a program. Cases with the same flags share one server process; after each of
// them that process must be alive, answer a fresh client, hold no more sockets than before and
// have said nothing on stderr. So a case that leaks is found by name.
//
// Within one server process cases run one after the other: stage 1 serves one connection at a
// time, and sockets can only be counted when nobody else has any. What runs in parallel is
// several processes.
//
// Nothing here sleeps in order to wait for the server. Waiting is for bytes, for the end of a
// connection, for an exit, or for something that the kernel knows ([kernel.Eventually] asks it again
// and again). An upper bound is generous: only a broken server ever meets it.
package suite
