// Package servertest has the functions that the tests of the four stages call. The packages in its folder test
// a server from outside, over TCP and through /proc.
package servertest

import (
	"testing"

	"fourways.example/common/servertest/cases"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/netns"
	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/trials"
)

// Enter must be called at the beginning of TestMain, before Main: see [netns.Enter].
func Enter() { netns.Enter() }

// Main runs the tests or, in a process that was started as a server, main. A stage calls it in TestMain.
//
//	func TestMain(m *testing.M) { servertest.Enter(); servertest.Main(m, main) }
func Main(m *testing.M, main func()) { process.Main(m, main) }

// Self returns the running test binary as a server program. TestMain must call Main.
func Self(t testing.TB, stage int) *process.Program {
	t.Helper()
	return process.Self(t, stage)
}

// Run tests the program with all cases, each as a subtest.
func Run(t *testing.T, prog *process.Program) { suite.Run(t, prog, cases.All()) }

// Trials returns all trials.
func Trials() []trials.Trial { return trials.All() }

// RunTrials runs trials one after the other, each as a subtest with servers of its own.
func RunTrials(t *testing.T, prog *process.Program, all []trials.Trial) { trials.Run(t, prog, all) }

// RunFamilies starts the program on all kinds of machines and checks which clients it serves, IPv4 or IPv6.
func RunFamilies(t *testing.T, prog *process.Program) { trials.RunFamilies(t, prog) }

// RunPitfalls runs the scenario of each pitfall of the stage, against the program and against a server with the bug.
func RunPitfalls(t *testing.T, prog *process.Program) { pitfalls.Run(t, prog) }

// SocketsOf returns the open sockets of a process in the form "socket:[1234]", where 1234 is the inode.
func SocketsOf(pid int) []string { return kernel.SocketsOf(pid) }
