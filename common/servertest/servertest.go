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

// Enter is for the beginning of a TestMain, before Main: it does what this process was started
// for by another test binary.
func Enter() { netns.Enter() }

// Main is for the TestMain of a stage: its test binary is its server too.
//
//	func TestMain(m *testing.M) { servertest.Enter(); servertest.Main(m, main) }
func Main(m *testing.M, main func()) { process.Main(m, main) }

// Self is the running test binary as a server. TestMain must call Main.
func Self(t testing.TB, stage int) *process.Program {
	t.Helper()
	return process.Self(t, stage)
}

// Run measures the program with all cases, as subtests.
func Run(t *testing.T, prog *process.Program) { suite.Run(t, prog, cases.All()) }

// Trials are all trials.
func Trials() []trials.Trial { return trials.All() }

// RunTrials plays trials one after the other, each with servers of its own.
func RunTrials(t *testing.T, prog *process.Program, all []trials.Trial) { trials.Run(t, prog, all) }

// RunFamilies starts the program on all kinds of machines, and sees whom it serves.
func RunFamilies(t *testing.T, prog *process.Program) { trials.RunFamilies(t, prog) }

// RunPitfalls plays the stage's pitfalls both ways, against the program and against broken servers.
func RunPitfalls(t *testing.T, prog *process.Program) { pitfalls.Run(t, prog) }

// SocketsOf are the descriptors of a process that are sockets, by inode: "socket:[1234]".
func SocketsOf(pid int) []string { return kernel.SocketsOf(pid) }
