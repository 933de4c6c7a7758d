// Package suite runs the cases of package cases against a server, from outside, over TCP.
//
// It checks the contract of docs/spec.md for any program with that command line: the four stages, a
// stage with a deliberate bug, or a server that somebody else wrote. It therefore imports no package
// of the servers.
//
// A [Case] names the claims that it proves. [Run] runs all cases as subtests of a test, [RunProgram]
// runs them in an ordinary program. Cases with the same flags share one server process. After each
// case the process must be alive, answer a fresh client, hold no more sockets than before, and have
// written nothing to stderr. So the report names the case that leaks a socket, not a later one.
//
// The cases of one server process run one after the other, because stage 1 serves one connection at
// a time, and because sockets can be counted only while no other case has any. Several processes are
// tested at the same time.
//
// No case sleeps to wait for the server. A case waits for bytes, for the end of a connection, for an
// exit, or for a state that the kernel reports, which [kernel.Eventually] polls. Upper bounds are
// generous: only a broken server reaches them.
package suite
